"""One text for the same content, which reads back as that content."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.files.digest import canonical_json, json_file
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
