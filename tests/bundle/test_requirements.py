"""A lock has exact versions and nothing else."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.bundle.requirements import (
    parse_requirements,
    read_requirements,
    requirements_text,
)
from cvbundle.compiler.build import Compiled
from cvbundle.problems import UserError

_HEAD = (
    b"# Exact versions of what this bundle's training imports: pip install -r requirements.txt\n"
)


def test_a_lock_is_read_back_as_it_was_written(compiled: Compiled) -> None:
    locked = read_requirements(compiled.bundle.folder)
    assert (
        requirements_text(locked).encode()
        == (compiled.bundle.folder / "requirements.txt").read_bytes()
    )
    assert "huggingface_hub" in locked


@pytest.mark.parametrize(
    "version", ["1.0", "2026.8.0", "1.0rc1", "2.9.0.post0", "1!2.0", "0.1.dev20240101", "1.0-1"]
)
def test_every_public_version_can_be_locked(version: str) -> None:
    text = requirements_text({"one": version})
    assert parse_requirements(text.encode(), "it") == {"one": version}


@pytest.mark.parametrize("version", ["unknown", "", "1.0+cpu", "1.*", "1.0\u0661", "1.0\n", "1 .0"])
def test_an_invalid_version_is_not_locked(version: str) -> None:
    with pytest.raises(UserError, match="the lock of the installed packages has a line"):
        requirements_text({"one": version})


@pytest.mark.parametrize(
    "line",
    [
        b"one",
        b"one>=1.0",
        b"one==1.*",
        b"one===1.0",
        b"one == 1.0",
        b" one==1.0",
        b"one==1.0 ",
        b"one==1.0\t",
        b"one==1.0+cpu",
        b"one @ file:///x",
        b"one==1.0 --global-option=x",
        b"one==1.0 --hash=sha256:" + b"0" * 64,
        b"one==1.0 \\",
        b"one[extra]==1.0",
        b"one==1.0; python_version > '3'",
        b"one==1.0 # why",
        b"one==${VERSION}",
        b"--index-url https://evil.example",
        b"-r /etc/passwd",
        b"-e .",
        b"./evil",
        b"https://evil.example/one-1.0.tar.gz",
        b"file:///tmp/one",
        b"",
        b"# a comment",
        b"# -*- coding: utf-7 -*-",
        _HEAD.rstrip(b"\n"),
        _HEAD.rstrip(b"\n") + b" coding: utf-7",
        b"One==1.0",
        b"one-==1.0",
        b"-one==1.0",
        b"one--two==1.0",
        b"one==1.0\r",
        b"one==1.0\x00",
        b"one==1.0\x0c",
        b"one==1.0\x0b",
        b"\xef\xbb\xbfone==1.0",
        b"one==1.0\xe2\x80\xa8evil==1.0",
        b"one==1.0\x85evil==1.0",
        b"one==1.0\x1cevil==1.0",
        b"\xff\xfeo\x00n\x00e\x00",
        "оne==1.0".encode(),
        "one==１.0".encode(),
        b"+AAo-evil==1.0",
    ],
)
def test_a_lock_of_more_than_exact_versions_is_refused(line: bytes) -> None:
    for content in (b"two==2.0\n" + line + b"\n", _HEAD + b"two==2.0\n" + line + b"\n"):
        with pytest.raises(UserError, match=r"^it has a line that pins no package"):
            parse_requirements(content, "it")


@pytest.mark.parametrize("head", [b"# -*- coding: utf-7 -*-\n", b"\n", b"\xef\xbb\xbf" + _HEAD])
def test_only_our_comment_may_precede_the_pins(head: bytes) -> None:
    with pytest.raises(UserError, match="a line that pins no package"):
        parse_requirements(head + b"one==1.0\n", "it")


@pytest.mark.parametrize(
    "other", [b"one-two==1.0", b"one-two==2.0", b"one.two==1.0", b"one_two==1.0"]
)
def test_two_spellings_of_one_package_are_refused(other: bytes) -> None:
    with pytest.raises(UserError, match=r"^it pins one-two twice"):
        parse_requirements(b"one-two==1.0\n" + other + b"\n", "it")


def test_a_truncated_lock_is_refused() -> None:
    with pytest.raises(UserError, match=r"the last line has no line end: 'one==1\.'"):
        parse_requirements(b"one==1.", "it")


def test_a_huge_lock_is_not_read(compiled: Compiled) -> None:
    path = compiled.bundle.folder / "requirements.txt"
    path.chmod(0o644)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="larger than 64 KiB"):
        read_requirements(compiled.bundle.folder)


_TOKENS = st.sampled_from(
    [
        b"one==1.0",
        b"\n",
        b"\r",
        b"\\",
        b"#",
        b" ",
        _HEAD,
        b"+AAo-",
        b"-r x",
        b"\x00",
        b"\xe2\x80\xa8",
    ]
)


@given(st.lists(st.one_of(_TOKENS, st.binary(max_size=3)), max_size=8).map(b"".join))
def test_accepted_text_parses_to_what_we_would_write(content: bytes) -> None:
    try:
        locked = parse_requirements(content, "it")
    except UserError:
        return
    text = requirements_text(locked)
    assert sorted(content.removeprefix(_HEAD).decode().splitlines()) == text.splitlines()[1:]
    assert {*text} <= {*string.printable}
