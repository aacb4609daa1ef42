"""The architecture computed without torch equals that of diffusers and peft."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import asdict, evolve
from diffusers import CogVideoXTransformer3DModel
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import check_target_module_exists

from cvbundle.model.config_files import read_architecture
from cvbundle.model.modules import (
    lora_parameters,
    lora_targets,
    modules,
    text_encoder_parameters,
    total_parameters,
)
from cvbundle.problems import UserError
from cvbundle.spec.tables.architecture import Transformer
from cvbundle.spec.tables.models import MODELS, Card
from tests.model.folders import write_configs

TOTALS = {
    "cogvideox-2b": 1_693_783_872,
    "cogvideox-5b": 5_570_283_072,
    "cogvideox-5b-i2v": 5_570_479_680,
    "cogvideox1.5-5b": 5_570_676_352,
    "cogvideox1.5-5b-i2v": 5_571_594_880,
}
QKVO = ("to_q", "to_k", "to_v", "to_out.0")
TARGETS = (
    *QKVO,
    "to_out",
    "proj",
    "linear",
    "linear_1",
    "linear_2",
    "ff.net.0.proj",
    "ff.net.2",
    "net.2",
    "2",
    "0",
    "norm1",
    "norm1.linear",
    "norm_out.linear",
    "text_proj",
    "proj_out",
    "patch_embed.proj",
    "transformer_blocks.0.attn1.to_q",
    "0.attn1.to_q",
    "nope",
    "q",
)


def tiny(known: Card) -> Transformer:
    """The same architecture with two layers of two heads."""
    return evolve(
        known.architecture.transformer,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=32,
        text_embed_dim=24,
        time_embed_dim=8,
        ofs_embed_dim=8 if known.architecture.transformer.ofs_embed_dim else None,
        sample_height=4,
        sample_width=6,
        sample_frames=9,
    )


def built(transformer: Transformer) -> torch.nn.Module:
    """The same in diffusers, without memory for its weights."""
    make: Any = CogVideoXTransformer3DModel
    with torch.device("meta"):
        model: torch.nn.Module = make(**asdict(transformer))
    return model


ALL = [
    *(pytest.param(card.architecture.transformer, id=card.name) for card in MODELS.values()),
    *(pytest.param(tiny(card), id=f"tiny-{card.name}") for card in MODELS.values()),
]


@pytest.mark.parametrize("transformer", ALL)
def test_modules_and_parameters_equal_those_of_diffusers(transformer: Transformer) -> None:
    model = built(transformer)
    kinds: dict[str, type[torch.nn.Module]] = {"Linear": torch.nn.Linear, "Conv2d": torch.nn.Conv2d}
    theirs = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert {module.name: module.parameters for module in modules(transformer)} == theirs
    for module in modules(transformer):
        assert isinstance(model.get_submodule(module.name), kinds[module.kind])
    assert total_parameters(transformer) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("transformer", ALL)
def test_targets_match_the_modules_that_peft_matches(transformer: Transformer) -> None:
    names = [
        name
        for name, module in built(transformer).named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    ]
    for target in TARGETS:
        config = LoraConfig(target_modules=[target])
        theirs = {name for name in names if check_target_module_exists(config, name)}
        assert {module.name for module in lora_targets(transformer, target)} == theirs, target


@pytest.mark.parametrize("transformer", [tiny(card) for card in MODELS.values()], ids=lambda t: "")
def test_the_parameters_of_an_adapter_equal_those_of_peft(transformer: Transformer) -> None:
    targets = ("to_q", "ff.net.2", "patch_embed.proj", "norm1.linear", "proj_out")
    model = inject_adapter_in_model(
        LoraConfig(r=3, target_modules=list(targets)), built(transformer)
    )
    theirs = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    assert lora_parameters(transformer, targets, 3) == theirs


@pytest.mark.parametrize("known", MODELS.values(), ids=lambda card: card.name)
def test_totals_are_the_published_ones(known: Card) -> None:
    assert total_parameters(known.architecture.transformer) == TOTALS[known.name]


@pytest.mark.parametrize(
    ("name", "targets", "rank", "count"),
    [
        ("cogvideox-2b", QKVO, 64, 29_491_200),
        ("cogvideox-2b", QKVO, 128, 58_982_400),
        ("cogvideox-5b", QKVO, 64, 66_060_288),
        ("cogvideox1.5-5b", QKVO, 128, 132_120_576),
        ("cogvideox-2b", (*QKVO, "ff.net.0.proj", "ff.net.2"), 64, 66_355_200),
        ("cogvideox-5b", (*QKVO, "ff.net.0.proj", "ff.net.2"), 128, 297_271_296),
    ],
)
def test_adapters_have_the_known_sizes(
    name: str, targets: tuple[str, ...], rank: int, count: int
) -> None:
    known = MODELS.get(name)
    assert known is not None
    assert lora_parameters(known.architecture.transformer, targets, rank) == count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cogvideox-2b", 113_569_792),
        ("cogvideox-5b", 251_858_944),
        ("cogvideox1.5-5b", 252_067_840),
        ("cogvideox1.5-5b-i2v", 252_207_104),
    ],
)
def test_an_adapter_on_every_linear_has_the_known_size(name: str, count: int) -> None:
    known = MODELS.get(name)
    assert known is not None
    transformer = known.architecture.transformer
    linear = tuple(m.name for m in modules(transformer) if m.kind == "Linear")
    assert lora_parameters(transformer, linear, 64) == count


def test_the_text_encoder_has_its_known_size() -> None:
    assert (
        text_encoder_parameters(MODELS["cogvideox-2b"].architecture.text_encoder) == 4_762_310_656
    )


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("cogvideox-2b", (49, 480, 720), 17_776),
        ("cogvideox1.5-5b", (81, 768, 1360), 45_106),
        ("cogvideox1.5-5b", (161, 768, 1360), 85_906),
    ],
)
def test_sequences_have_the_known_lengths(
    name: str, size: tuple[int, int, int], tokens: int
) -> None:
    known = MODELS.get(name)
    assert known is not None
    assert known.architecture.tokens(*size) == tokens


def test_config_files_give_back_the_architecture(tmp_path: Path) -> None:
    for known in MODELS.values():
        folder = tmp_path / known.name
        write_configs(folder, known.architecture)
        assert read_architecture(folder) == known.architecture


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("transformer", "num_layers", 10**9),
        ("transformer", "num_layers", 0),
        ("transformer", "num_layers", "30"),
        ("transformer", "patch_size", 1e400),
        ("transformer", "use_rotary_positional_embeddings", 1),
        ("vae", "temporal_compression_ratio", 0),
        ("vae", "block_out_channels", []),
        ("vae", "block_out_channels", [8] * 100),
        ("vae", "scaling_factor", float("nan")),
    ],
)
def test_an_implausible_config_is_reported(
    tmp_path: Path, part: str, key: str, value: object
) -> None:
    """Config files are untrusted: none makes a check hang or crash."""
    write_configs(tmp_path, MODELS["cogvideox-2b"].architecture)
    path = tmp_path / part / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=key):
        read_architecture(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '"x"', "\xff"])
def test_a_config_that_is_not_json_is_named(tmp_path: Path, content: str) -> None:
    write_configs(tmp_path, MODELS["cogvideox-2b"].architecture)
    (tmp_path / "vae" / "config.json").write_text(content, "latin-1")
    with pytest.raises(UserError, match="vae"):
        read_architecture(tmp_path)
