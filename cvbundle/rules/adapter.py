"""Rules about the modules that get an adapter."""

from collections.abc import Iterator

from attrs import evolve

from cvbundle.model.modules import lora_targets, modules
from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.tables.architecture import Transformer

_FIELD = "lora.target_modules"
_ITEMS = f"{_FIELD}[]"
_ELSEWHERE = {
    "q_proj": "to_q",
    "k_proj": "to_k",
    "v_proj": "to_v",
    "o_proj": "to_out.0",
    "out_proj": "to_out.0",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "fc1": "ff.net.0.proj",
    "fc2": "ff.net.2",
}
"""The same modules in other models, for which the most similar name would be wrong."""


@rule(
    "lora-target-missing",
    Severity.ERROR,
    why="peft ignores a name that matches nothing if another one matches.",
    source="peft 0.21.2, tuners/tuners_utils.py; executed",
    reads=(_ITEMS,),
    needs_model=True,
    good={_FIELD: ["to_q", "to_k"]},
    bad={_FIELD: ["to_q", "to_query"]},
)
def lora_target_missing(subject: Subject) -> Iterator[Finding]:
    """Each target matches a module that can take LoRA."""
    if subject.spec.lora is None:
        return
    transformer = subject.model.architecture.transformer
    for index, target in enumerate(subject.spec.lora.target_modules):
        if lora_targets(transformer, target):
            continue
        message = f"{target} matches no module of this model that can take LoRA"
        if target.lower() == "all-linear":
            every = " ".join(_endings(transformer))
            yield Finding(_FIELD, message, f"list the modules: {every}", index=index)
        elif near := nearest_target(transformer, target):
            yield Finding.write(_FIELD, message, near, index=index)
        else:
            common = ", ".join(list(_endings(transformer))[:8])
            yield Finding(_FIELD, message, f"write the end of a name: {common}", index=index)


@rule(
    "lora-target-broad",
    Severity.WARNING,
    why="The name also matches modules outside the blocks, such as the patch embedding or the last "
    "projection.",
    source="peft 0.21.2 matches ends of names; executed: proj hits patch_embed.proj, linear hits "
    "norm_out.linear",
    reads=(_ITEMS,),
    needs_model=True,
    good={_FIELD: ["ff.net.0.proj", "norm1.linear"]},
    bad={_FIELD: ["to_q", "proj"]},
)
def lora_target_broad(subject: Subject) -> Iterator[Finding]:
    """No target matches modules both inside and outside the blocks."""
    if subject.spec.lora is None:
        return
    transformer = subject.model.architecture.transformer
    for index, target in enumerate(subject.spec.lora.target_modules):
        names = [module.name for module in lora_targets(transformer, target)]
        outside = [name for name in names if not _in_blocks(name)]
        inside = list(dict.fromkeys(_ending(name) for name in names if _in_blocks(name)))
        if not (inside and outside):
            continue
        message = f"{target} also matches {' and '.join(outside)}, outside the blocks"
        if len(inside) == 1:
            yield Finding.write(_FIELD, message, inside[0], index=index)
        else:
            yield Finding(_FIELD, message, f"write {', '.join(inside)}", index=index)


def nearest_target(transformer: Transformer, target: str) -> str | None:
    """The ending of a module's name most similar to `target`, if one is similar enough."""
    # Slow to import, and only needed for a wrong name.
    import difflib

    endings = list(_endings(transformer))
    if (same := _ELSEWHERE.get(target)) in endings:
        return same
    if inside := [ending for ending in endings if ending.startswith(f"{target}.")]:
        return inside[0]
    close = difflib.get_close_matches(target[:100], endings, n=1, cutoff=0.55)
    return close[0] if close else None


def _endings(transformer: Transformer) -> dict[str, None]:
    """The shortest ending of each kind of module; those inside the blocks come first."""
    names = [module.name for module in modules(evolve(transformer, num_layers=1))]
    names.sort(key=lambda name: not _in_blocks(name))
    return dict.fromkeys(map(_ending, names))


def _in_blocks(name: str) -> bool:
    return name.startswith("transformer_blocks.")


def _ending(name: str) -> str:
    """A module's name without its block: `to_q`, `ff.net.2`; outside the blocks, the full name."""
    if not _in_blocks(name):
        return name
    return ".".join(name.split(".")[2:]).removeprefix("attn1.")


@rule(
    "lora-with-sft",
    Severity.ERROR,
    why="Full fine-tuning has no adapter: the settings would be ignored.",
    source="cvbundle training/weights.py adds the adapter only for training.type: lora",
    reads=("training.type", "lora[]"),
    good={"training.type": "lora", "lora.rank": 64},
    bad={"training.type": "sft", "lora.rank": 64},
)
def lora_with_sft(subject: Subject) -> Iterator[Finding]:
    """No `lora` section with `training.type: sft`."""
    if subject.spec.training.type == "sft" and subject.spec.lora is not None:
        yield Finding(
            "lora",
            "the adapter's settings have no effect with training.type: sft",
            "remove the section, or write training.type: lora",
            at_key=True,
        )
