"""Which modules an adapter is put on."""

import difflib
from collections.abc import Iterator

from cvbundle.model.architecture import Transformer, lora_targets, modules
from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule

_FIELD = "lora.target_modules"


@rule(
    "lora-target-missing",
    Severity.ERROR,
    why="peft ignores a name that matches nothing as long as another one matches.",
    source="peft 0.21.2, tuners/tuners_utils.py; executed",
    reads=(_FIELD,),
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
        if not lora_targets(transformer, target):
            near = nearest_targets(transformer, target)
            yield Finding(
                _FIELD,
                f"{target} is the name of no module of this model that can take LoRA",
                f"write {' or '.join(near)}",
                index=index,
            )


def nearest_targets(transformer: Transformer, target: str) -> list[str]:
    """The endings of module names that are most like `target`."""
    endings = dict.fromkeys(
        module.name.rpartition("attn1.")[2]
        if "attn1." in module.name
        else ".".join(module.name.split(".")[2:] or [module.name])
        if module.name.startswith("transformer_blocks.")
        else module.name
        for module in modules(transformer)
    )
    close = difflib.get_close_matches(target[:100], list(endings), n=2, cutoff=0.4)
    return close or [ending for ending in endings if ending.startswith("to_")][:4]


@rule(
    "lora-with-sft",
    Severity.ERROR,
    why="Full fine-tuning has no adapter: the settings would be ignored.",
    source="promise 5 of the design: nothing is silently something else",
    reads=("training.type", "lora"),
    good={"training.type": "lora", "lora.rank": 64},
    bad={"training.type": "sft", "lora.rank": 64},
)
def lora_with_sft(subject: Subject) -> Iterator[Finding]:
    """No `lora` section with `training.type: sft`."""
    if subject.spec.training.type == "sft" and subject.spec.lora is not None:
        yield Finding(
            "lora",
            "the adapter's settings mean nothing with training.type: sft",
            "remove the section, or write training.type: lora",
            at_key=True,
        )
