"""`--set` replaces values, and problems with one are reported at the setting."""

import pytest

from cvbundle.spec.overrides import override
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.reader import read

SPEC = b"name: x\nlora:\n  rank: 4\n  target_modules: [to_q]\n"


def with_settings(*settings: str, spec: bytes = SPEC) -> Document:
    return override(read(spec, "spec.yaml"), settings)


@pytest.mark.parametrize(
    ("setting", "section", "name", "value"),
    [
        ("lora.rank=8", "lora", "rank", 8),
        ("lora.rank = 8", "lora", "rank", 8),
        ("lora.alpha=1e-1", "lora", "alpha", 0.1),
        ("lora.target_modules=[to_k, to_v]", "lora", "target_modules", ["to_k", "to_v"]),
        ("training.seed=1", "training", "seed", 1),
        ("model.path=a=b", "model", "path", "a=b"),
        ("output.dir=null", "output", "dir", None),
        ("output.dir=", "output", "dir", None),
        ("data.caption_prefix='x: '", "data", "caption_prefix", "x: "),
    ],
)
def test_a_setting_is_read_like_a_value_of_the_spec(
    setting: str, section: str, name: str, value: object
) -> None:
    document = with_settings(setting)
    assert document.problems == ()
    reported = document.data[section]
    assert isinstance(reported, dict)
    assert reported[name] == value
    assert document.place((section, name)).file == "--set"


def test_the_document_itself_is_unchanged() -> None:
    document = read(SPEC, "spec.yaml")
    override(document, ["lora.rank=8"])
    assert document.data["lora"] == {"rank": 4, "target_modules": ["to_q"]}


def test_the_last_setting_of_a_field_wins() -> None:
    assert with_settings("name=a", "name=b").data["name"] == "b"


@pytest.mark.parametrize(
    ("setting", "rule", "column"),
    [
        ("lora.rank", "yaml-syntax", 1),
        ("=5", "yaml-syntax", 1),
        ("lora..rank=5", "yaml-syntax", 1),
        ("", "yaml-syntax", 1),
        ("lora.rank=010", "yaml-ambiguous", 11),
        ("lora.rank=[1", "yaml-syntax", 11),
        ("lora.rank=1\nname: 2", "yaml-syntax", 11),
        ("lora.rank=&a 1", "yaml-unsafe", 11),
        ("lora.rank=a: b", "yaml-syntax", 11),
        ("lora.rank=\x07", "yaml-syntax", 11),
        ("lora.rank=\udcff", "yaml-unsafe", 11),
    ],
)
def test_a_malformed_setting_is_refused_at_its_place(setting: str, rule: str, column: int) -> None:
    (problem,) = with_settings(setting).problems
    assert (problem.rule, problem.place.file, problem.place.column) == (rule, "--set", column)


def test_a_refused_setting_makes_the_field_invalid() -> None:
    assert ("lora", "rank") in with_settings("lora.rank=010").invalid


def test_problems_of_a_replaced_value_are_dropped() -> None:
    document = with_settings("lora.rank=8", spec=b"lora:\n  rank: 010\n")
    assert document.problems == ()
    assert document.invalid == frozenset()


def test_a_replaced_section_keeps_no_old_fields() -> None:
    document = with_settings("lora={rank: 2}")
    assert document.data["lora"] == {"rank": 2}
    assert not document.has(("lora", "target_modules"))
    assert document.place(("lora", "rank")).file == "--set"


def test_a_value_in_the_way_of_a_field_is_replaced() -> None:
    assert with_settings("name.first=a").data["name"] == {"first": "a"}
