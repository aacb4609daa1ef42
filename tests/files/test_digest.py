"""One text for the same content, which reads back as that content."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.files.digest import canonical_json, json_file, sha256_bytes, sha256_file
from cvbundle.spec.text.reader import read

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
data = st.dictionaries(
    texts,
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
)


@given(data)
def test_both_texts_read_back_the_same(content: dict[str, object]) -> None:
    assert json.loads(canonical_json(content)) == content
    assert json.loads(json_file(content)) == content


@given(texts)
def test_a_config_is_read_as_a_spec_with_the_same_text(text: str) -> None:
    document = read(json_file({"prompt": text}), "config.json")
    assert document.data == {"prompt": text}
    assert not document.problems


def test_keys_are_sorted_and_order_does_not_matter() -> None:
    assert canonical_json({"b": 1, "a": [2.0, 1e-05]}) == b'{"a":[2.0,1e-05],"b":1}'


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


def test_the_text_of_a_content_never_changes() -> None:
    # Bundles and encodings are named for the digests of these texts.
    content = {"b": "日本", "a": {"c": None}}
    assert canonical_json(content) == rb'{"a":{"c":null},"b":"\u65e5\u672c"}'
    expected = '{\n  "a": {\n    "c": null\n  },\n  "b": "日本"\n}\n'
    assert json_file(content) == expected.encode()


@pytest.mark.parametrize("text", [canonical_json, json_file])
def test_what_is_no_number_has_no_text(text: Callable[[object], bytes]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        text({"loss": float("nan")})


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    # FIPS 180-4, the example of one block.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_bytes(b"abc") == sha256_file(tmp_path / "abc") == digest
