"""The base model's weights are what `from_pretrained` loads, and held once; or one sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import T5EncoderModel

from cvbundle.problems import UserError
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.components import load_text_encoder, load_transformer, load_vae
from cvbundle.training.stored import Reader, stored_tensors
from cvbundle.training.tiny import write_tiny_model
from tests.training.conftest import DemoOf
from tests.training.large import peak_of_loading, write_large_transformer

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_WEIGHTS = "diffusion_pytorch_model.safetensors"


def _saved_in(folder: Path, part: str, dtype: torch.dtype, copy: Path) -> Path:
    """A part of a model with its weights in a file of a type; the folder of the copy."""
    (copy / part).mkdir(parents=True)
    for path in (folder / part).iterdir():
        if path.suffix == ".safetensors":
            tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
            save_file(tensors, copy / part / path.name, {"format": "pt"})
        else:
            (copy / part / path.name).write_bytes(path.read_bytes())
    return copy


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return parameters | dict(module.named_buffers())


def _assert_equal(ours: nn.Module, theirs: nn.Module, computed: torch.dtype) -> None:
    """The same tensors of the same types; computed buffers in the type that is asked for."""
    expected = _tensors(theirs)
    found = _tensors(ours)
    assert set(found) == set(expected)
    saved = set(theirs.state_dict())
    for name, tensor in expected.items():
        wanted = tensor if name in saved else tensor.to(computed)
        assert found[name].dtype == wanted.dtype, name
        assert torch.equal(found[name], wanted), name
        assert not found[name].requires_grad
    assert not ours.training


@pytest.mark.parametrize("model", MODELS)
def test_a_transformer_is_what_diffusers_loads_from_a_file_of_any_type(
    model: str, demo_of: DemoOf, tmp_path: Path
) -> None:
    for saved in DTYPES:
        folder = _saved_in(
            demo_of(model, "lora") / "model", "transformer", saved, tmp_path / str(saved)
        )
        for dtype in DTYPES:
            theirs = CogVideoXTransformer3DModel.from_pretrained(
                folder / "transformer", torch_dtype=dtype
            )
            _assert_equal(load_transformer(folder, dtype, CPU), theirs, dtype)


def test_vae_and_text_encoder_are_what_the_libraries_load_from_a_file_of_any_type(
    demo_of: DemoOf, tmp_path: Path
) -> None:
    base = demo_of("cogvideox-2b", "lora") / "model"
    for saved in DTYPES:
        folder = _saved_in(base, "vae", saved, tmp_path / str(saved))
        _saved_in(base, "text_encoder", saved, folder)
        for dtype in DTYPES:
            vae = AutoencoderKLCogVideoX.from_pretrained(folder / "vae", torch_dtype=dtype)
            options = {"tiling": True, "slicing": True}
            whole = load_vae(folder, dtype, CPU, decoder=True, **options)
            _assert_equal(whole, vae, dtype)
            half = load_vae(folder, dtype, CPU, decoder=False, **options)
            del vae.decoder
            _assert_equal(half, vae, dtype)
            encoder = T5EncoderModel.from_pretrained(folder / "text_encoder", dtype=dtype)
            ours = load_text_encoder(folder, dtype, CPU)
            _assert_equal(ours, encoder.requires_grad_(False), dtype)
            assert ours.shared.weight is ours.encoder.embed_tokens.weight


def test_files_that_an_index_names_are_one_model(demo_of: DemoOf, tmp_path: Path) -> None:
    base = demo_of("cogvideox-5b-i2v", "lora") / "model"
    theirs = CogVideoXTransformer3DModel.from_pretrained(base / "transformer")
    theirs.save_pretrained(tmp_path / "transformer", max_shard_size="100KB")
    encoder = T5EncoderModel.from_pretrained(base / "text_encoder")
    encoder.save_pretrained(tmp_path / "text_encoder", max_shard_size="20KB")
    assert len(list(tmp_path.rglob("*.safetensors"))) > 4
    _assert_equal(
        load_transformer(tmp_path, torch.bfloat16, CPU), theirs.bfloat16(), torch.bfloat16
    )
    ours = load_text_encoder(tmp_path, torch.float32, CPU)
    _assert_equal(ours, encoder.requires_grad_(False), torch.float32)


def test_a_token_embedding_may_be_stored_under_either_of_its_names(
    demo_of: DemoOf, tmp_path: Path
) -> None:
    base = demo_of("cogvideox-2b", "lora") / "model"
    folder = _saved_in(base, "text_encoder", torch.float32, tmp_path)
    path = folder / "text_encoder/model.safetensors"
    tensors = load_file(path)
    tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")
    save_file(tensors, path, {"format": "pt"})
    ours = load_text_encoder(folder, torch.float32, CPU)
    assert torch.equal(ours.shared.weight, tensors["encoder.embed_tokens.weight"])


def test_a_text_encoder_in_fp16_computes_what_fp16_can_not_hold(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model", "cogvideox-2b")
    encoder: Any = T5EncoderModel.from_pretrained(tmp_path / "model/text_encoder")
    for block in encoder.encoder.block:
        # The sum over blocks exceeds 65504, as that of the real encoder does.
        block.layer[-1].DenseReluDense.wo.weight.data *= 1e5
        assert block.layer[-1].DenseReluDense.wo.weight.abs().max() < 65504
    encoder.save_pretrained(tmp_path / "model/text_encoder")
    tokens = torch.arange(3, 19)[None]
    with torch.no_grad():
        exact = encoder(tokens)[0]
        in_fp16 = load_text_encoder(tmp_path / "model", torch.float16, CPU)(tokens)[0]
        all_in_fp16 = encoder.half()(tokens)[0]
    assert (in_fp16.float() - exact).abs().max() < 0.01 * exact.abs().max()
    # What keeping no weight in fp32 would make of it.
    assert not (all_in_fp16.float() - exact).abs().max() < 0.1 * exact.abs().max()


Damage = Callable[[Path], None]


def _without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors["proj_out.bias"], tensors["norm_final.bias"]
    save_file(tensors, path)


def _with_another_tensor(path: Path) -> None:
    save_file({**load_file(path), "pos_embed": torch.zeros(3)}, path)


def _with_another_shape(path: Path) -> None:
    save_file({**load_file(path), "proj_out.bias": torch.zeros(3)}, path)


def _with_another_type(path: Path) -> None:
    save_file({**load_file(path), "proj_out.bias": torch.zeros(64).to(torch.float8_e5m2)}, path)


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _of_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _renamed(path: Path) -> None:
    path.rename(path.with_suffix(".bin"))


def _lost_behind_an_index(path: Path) -> None:
    placed = dict.fromkeys([*load_file(path), "gone"], path.name)
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": placed}))


def _index_of_nothing(path: Path) -> None:
    path.with_name(f"{path.name}.index.json").write_text("{}")


def _index_that_leads_out(path: Path) -> None:
    content = json.dumps({"weight_map": {"proj_out.bias": f"../{path.name}"}})
    path.with_name(f"{path.name}.index.json").write_text(content)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_without_a_tensor, "transformer lacks norm_final.bias, proj_out.bias, which its config"),
        (_with_another_tensor, "transformer has pos_embed, which its config.json has no place for"),
        (_with_another_shape, "transformer has proj_out.bias as [3], and its config.json asks for"),
        (_with_another_type, "has proj_out.bias as F8_E5M2, which can't be trained from"),
        (_cut_off, "model.safetensors is cut off after "),
        (_of_zeros, "model.safetensors is no whole safetensors file: download it again"),
        (_renamed, "transformer has neither diffusion_pytorch_model.safetensors nor model.saf"),
        (_lost_behind_an_index, "index.json names gone, which no file has: download it again"),
        (_index_of_nothing, "index.json names no files of weights: download it again"),
        (_index_that_leads_out, "/diffusion_pytorch_model.safetensors, which is no file beside it"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_is_wrong_with_the_weights_is_one_sentence(
    damage: Damage, sentence: str, demo_of: DemoOf, tmp_path: Path
) -> None:
    base = demo_of("cogvideox-2b", "lora") / "model"
    folder = _saved_in(base, "transformer", torch.float32, tmp_path)
    damage(folder / "transformer" / _WEIGHTS)
    with pytest.raises(UserError) as refused:
        load_transformer(folder, torch.float32, CPU)
    assert sentence in str(refused.value)
    assert str(folder / "transformer") in str(refused.value)


def test_rows_are_read_and_cast_through_a_buffer_that_is_smaller_than_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvbundle.training.stored._BUFFER", 64)
    tensor = torch.randn(23, 7)
    save_file({"a": torch.ones(3), "b": tensor, "c": torch.tensor(5.0)}, tmp_path / "some")
    stored = stored_tensors(tmp_path / "some")
    rows, all_of_it, one = torch.empty(9, 7).half(), torch.empty(23, 7), torch.tensor(0.0).double()
    with Reader() as reader:
        reader.fill(rows, stored["b"], row=11)
        reader.fill(all_of_it, stored["b"])
        reader.fill(one, stored["c"])
        reader.fill(torch.empty(0, 7), stored["b"], row=23)
    assert torch.equal(rows, tensor[11:20].half())
    assert torch.equal(all_of_it, tensor)
    assert one == 5


@pytest.mark.slow
@pytest.mark.parametrize("saved", DTYPES, ids=str)
def test_a_large_transformer_is_held_once_while_it_loads(
    saved: torch.dtype, tmp_path: Path
) -> None:
    parameters = write_large_transformer(tmp_path, saved, layers=7, heads=16)
    assert parameters > 100e6
    peak = peak_of_loading(tmp_path, torch.bfloat16)
    assert 2 * parameters < peak < 1.15 * 2 * parameters


@pytest.mark.train
def test_the_trainer_is_imported_without_what_writes_warnings() -> None:
    """peft imports every package for quantization that it finds, before `quiet` has silenced it."""
    names = "peft", "bitsandbytes", "transformers"
    code = (
        "import sys, cvbundle.training.train\n"
        f"sys.exit(' '.join(name for name in {names} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
