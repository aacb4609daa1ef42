"""The model card of a result: what it is, where it comes from and how to load it."""

import json
from collections.abc import Sequence

from cvbundle.bundle.layout import ADAPTER_WEIGHTS, DATASET
from cvbundle.bundle.run import Row
from cvbundle.files.digest import sha256_file
from cvbundle.training.components import DTYPES
from cvbundle.training.job import Job

_LOAD_ADAPTER = """\
import torch
from diffusers import {pipeline}

pipe = {pipeline}.from_pretrained({base}, torch_dtype={dtype})
pipe.load_lora_weights(".", weight_name="{weights}")"""

_LOAD_TRANSFORMER = """\
import torch
from diffusers import CogVideoXTransformer3DModel, {pipeline}

transformer = CogVideoXTransformer3DModel.from_pretrained(".", torch_dtype={dtype})
pipe = {pipeline}.from_pretrained({base}, transformer=transformer, torch_dtype={dtype})"""


def model_card(job: Job, rows: Sequence[Row]) -> str:
    """The card as Markdown; the same for every run of a bundle."""
    spec = job.spec
    image = "ImageToVideo" if spec.model.type == "i2v" else ""
    load = _LOAD_TRANSFORMER if spec.lora is None else _LOAD_ADAPTER
    base = '"path/to/the/base/model"'
    if job.hub_commit is not None:
        base = f'"{spec.model.path}", revision="{job.hub_commit}"'
    losses = [row["loss"] for row in rows]
    kind = "LoRA adapter" if spec.lora is not None else "Fine-tuned transformer"
    facts = [
        ("bundle", job.bundle.digest),
        (
            "dataset",
            f"{len(job.samples)} samples, sha256 {sha256_file(job.bundle.folder / DATASET)}",
        ),
        ("base model", spec.model.name + (f" at {job.hub_commit}" if job.hub_commit else "")),
        ("steps", str(job.total_steps)),
    ]
    if losses:
        last = losses[-min(10, len(losses)) :]
        facts.append(
            (
                "loss",
                f"{losses[-1]:.6f} (mean of the last {len(last)}: "
                f"{sum(last) / len(last):.6f}; lowest {min(losses):.6f})",
            )
        )
    table = "\n".join(f"| {name} | {value} |" for name, value in facts)
    code = load.format(
        pipeline=f"CogVideoX{image}Pipeline",
        base=base,
        # What the base model was in while its adapter was trained, or its weights are saved in.
        dtype=DTYPES[spec.training.mixed_precision],
        weights=ADAPTER_WEIGHTS,
    )
    head = f"---\nlibrary_name: diffusers\ntags: [cogvideox, {spec.model.type}]\n---\n"
    what = f"{kind} for {spec.model.name}, trained by a cvbundle bundle."
    # Without the settings of the machine that it was trained on.
    shown = json.dumps(job.bundle.config, indent=2, sort_keys=True)
    return (
        f"{head}\n# {spec.name}\n\n{what}\n\n| | |\n|---|---|\n{table}\n\n"
        f"## Load\n\n```python\n{code}\n```\n\n## Settings\n\n```json\n{shown}\n```\n"
    )
