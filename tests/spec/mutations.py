"""Invalid specs, made from a valid one by a seeded generator."""

import json
import random
from collections.abc import Iterator
from typing import Any

VALID: dict[str, Any] = {
    "cvbundle": 1,
    "name": "everything",
    "model": {"path": "THUDM/CogVideoX-5b-I2V", "revision": None, "name": None, "type": "i2v"},
    "data": {
        "root": "data",
        "metadata": None,
        "caption_column": "prompts.txt",
        "video_column": "videos.txt",
        "image_column": None,
        "resolution": "49x480x720",
        "fit": "crop",
        "frame_sampling": "uniform",
        "short_clips": "error",
        "bad_samples": "error",
        "caption_prefix": "",
        "caption_dropout": 0.0,
        "num_workers": 4,
        "pin_memory": True,
        "vae_tiling": True,
        "vae_slicing": True,
    },
    "training": {
        "type": "lora",
        "seed": 42,
        "epochs": None,
        "steps": 1000,
        "batch_size": 1,
        "gradient_accumulation_steps": 1,
        "mixed_precision": "bf16",
        "learning_rate": 2e-5,
        "max_grad_norm": 1.0,
        "gradient_checkpointing": "selective",
        "deterministic": True,
        "image_noise": {"mean": -3.0, "std": 0.5},
        "image_dropout": 0.0,
        "latents": "resample",
        "timestep_sampling": "uniform",
        "snr_gamma": None,
        "ema_decay": None,
        "compile": False,
    },
    "lora": {
        "rank": 128,
        "alpha": 64,
        "target_modules": ["to_q", "to_k", "to_v", "to_out.0"],
        "dropout": 0.0,
        "rslora": False,
    },
    "optimizer": {
        "name": "adamw",
        "betas": [0.9, 0.95],
        "epsilon": 1e-8,
        "weight_decay": 1e-4,
        "beta3": None,
    },
    "lr_scheduler": {
        "name": "constant_with_warmup",
        "warmup_steps": 100,
        "num_cycles": 1,
        "power": 1.0,
    },
    "checkpointing": {"steps": 200, "limit": 10},
    "validation": {
        "steps": 200,
        "prompts": ["A panda plays a guitar."],
        "images": ["panda.png"],
        "num_inference_steps": 50,
        "guidance_scale": 6.0,
        "fps": 8,
        "seed": 42,
    },
    "tracking": {"report_to": ["tensorboard"], "project": "cvbundle"},
    "launch": {
        "strategy": "single",
        "num_processes": 1,
        "num_machines": 1,
        "gpu": "h100",
        "gpu_memory_gib": 80,
        "timeout_s": 1800,
    },
    "output": {"dir": None},
    "allow": ["frames-8n-plus-1"],
}
"""Every field of a spec, with a valid value."""

_ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    1e300,
    "",
    "x",
    "5",
    "49x480x720",
    "-",
    "~nobody-here/x",
    "a\0b",
    "/dev/zero",
    "é\u2028\U0001f600",
    [],
    [[]],
    [1, "x", None],
    {},
    {"a": {"b": []}},
    {"rank": 4},
)
_TOKENS = "{}[],:&*!|>'\"%@`#-? \t\n\r\0\x07\x7f\x85\u2028\ufeff\ufffe~<=.0x1e_"


def mutants(number: int, seed: int) -> Iterator[bytes]:
    """`number` mutated specs; the same ones for the same seed."""
    draw = random.Random(seed)
    for index in range(number):
        yield (_pruned, _swapped, _garbled)[index % 3](draw)


def as_yaml(value: Any, depth: int = 0) -> str:
    """Block style down to the fields, flow style below, as in a hand-written spec."""
    if not isinstance(value, dict) or not value or depth > 1:
        return json.dumps(value)
    indent = "  " * depth
    lines = []
    for key, inner in value.items():
        text = as_yaml(inner, depth + 1)
        between = "\n" if isinstance(inner, dict) and inner and depth < 1 else " "
        lines.append(f"{indent}{key}:{between}{text}")
    return "\n".join(lines)


def _pruned(draw: random.Random) -> bytes:
    tree = _copy(VALID)
    for _ in range(draw.randint(1, 6)):
        section, key = _field(tree, draw)
        if key in section:
            del section[key]
    return _text(tree, draw)


def _swapped(draw: random.Random) -> bytes:
    tree = _copy(VALID)
    for _ in range(draw.randint(1, 6)):
        section, key = _field(tree, draw)
        other = draw.choice(_ODD) if draw.random() < 0.7 else draw.choice(list(_values(tree)))
        section[key if draw.random() < 0.8 else f"{key}x"] = _copy(other)
    return _text(tree, draw)


def _garbled(draw: random.Random) -> bytes:
    content = bytearray(_text(_copy(VALID), draw))
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(content))
        kind = draw.random()
        if kind < 0.4:
            content[at:at] = draw.choice(_TOKENS).encode() * draw.choice((1, 1, 1, 70))
        elif kind < 0.7:
            content[at] = draw.randrange(256)
        elif kind < 0.85:
            del content[at : at + draw.randint(1, 40)]
        else:
            start = draw.randrange(len(content))
            content[at:at] = content[start : start + draw.randint(1, 200)]
    return bytes(content)


def _text(tree: dict[str, Any], draw: random.Random) -> bytes:
    if draw.random() < 0.1:
        tree["sweep"] = {"lora.rank": [64, draw.choice(_ODD)], "training.seed": [1, 2]}
    text = json.dumps(tree) if draw.random() < 0.2 else as_yaml(tree)
    ends = draw.choice(("\n", "\n", "\r\n"))
    return text.replace("\n", ends).encode("utf-8", "surrogatepass")


def _field(tree: dict[str, Any], draw: random.Random) -> tuple[Any, Any]:
    key = draw.choice(list(tree) or ["name"])
    section = tree.get(key)
    if isinstance(section, dict) and section and draw.random() < 0.85:
        return section, draw.choice(list(section))
    return tree, key


def _values(tree: dict[str, Any]) -> Iterator[Any]:
    for value in tree.values():
        yield value
        if isinstance(value, dict):
            yield from value.values()


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value
