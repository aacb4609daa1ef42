"""Which timesteps are trained on, and how much each counts."""

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch

from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import Spec, TimestepSampling
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.cache import EncodingCache
from cvbundle.training.components import load_scheduler
from cvbundle.training.encode import SampleKeys
from cvbundle.training.randomness import Purpose, SampleOrder, stream
from cvbundle.training.samples import SampleSource
from tests.training.conftest import CompileDemo, Train

_DRAWS = 2000
_TIMESTEPS = 1000
_OFF = 2.23 / math.sqrt(_DRAWS)
"""A sound sampler is further off for one seed in 10 000 (Kolmogorov and Smirnov)."""


def _spec(bundle: Path) -> Spec:
    config = json.loads((bundle / "config.json").read_bytes())
    config["model"]["path"] = config["data"]["root"] = "-"
    return structure_config(config)


def _drawn(spec: Spec, folder: Path) -> list[int]:
    """The timesteps of the first samples of a run over one tiny clip."""
    cache = EncodingCache(folder)
    cache.write("clip", torch.zeros(2, 1, 1, 1))
    cache.write("caption", torch.zeros(1, 1))
    source = SampleSource(
        spec=spec,
        architecture=MODELS["cogvideox-2b"].architecture,
        cache=cache,
        keys=(SampleKeys(caption="caption", clip="clip", image=None),),
        empty_caption="caption",
        order=SampleOrder(spec.training.seed, 1),
        timesteps=_TIMESTEPS,
    )
    return source.batch(range(_DRAWS)).timesteps.tolist()


def _expected(sampling: TimestepSampling) -> list[float]:
    """The share of the draws that should be below each timestep, from the first to the last."""
    shares = [timestep / _TIMESTEPS for timestep in range(1, _TIMESTEPS)]
    if sampling == "uniform":
        return shares
    return [NormalDist().cdf(math.log(share / (1 - share))) for share in shares]


@pytest.mark.parametrize("seed", [0, 42, 2**64 - 1])
@pytest.mark.parametrize("sampling", ["uniform", "logit_normal"])
def test_timesteps_have_the_distribution_that_was_asked_for(
    sampling: TimestepSampling, seed: int, compile_demo: CompileDemo, tmp_path: Path
) -> None:
    spec = _spec(compile_demo(f"training.timestep_sampling={sampling}", f"training.seed={seed}"))
    drawn = torch.tensor(_drawn(spec, tmp_path / "cache"))
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < _TIMESTEPS
    below = [float((drawn < timestep).double().mean()) for timestep in range(1, _TIMESTEPS)]
    off = max(abs(a - b) for a, b in zip(below, _expected(sampling), strict=True))
    assert off < _OFF
    # And not the other one: that is further away than chance makes it.
    other = _expected("uniform" if sampling == "logit_normal" else "logit_normal")
    assert max(abs(a - b) for a, b in zip(below, other, strict=True)) > 2 * _OFF


def test_every_sample_counts_the_same_unless_something_else_is_asked_for(
    compile_demo: CompileDemo,
) -> None:
    training = _spec(compile_demo()).training
    assert training.timestep_sampling == "uniform"
    assert training.snr_gamma is None


def _rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.train
def test_snr_weighting_scales_each_steps_loss_by_its_timesteps_weight(
    demo: Path, compile_demo: CompileDemo, train_here: Train
) -> None:
    # The rate is too small for the weights to change, so each step's loss is the same model's.
    settings = (
        "training.batch_size=1",
        "training.learning_rate=1e-12",
        "training.steps=6",
        "checkpointing.steps=6",
        "validation.steps=12",
    )
    gamma = 5.0
    bundle = compile_demo(*settings)
    plain = _rows(train_here(bundle))
    weighted = _rows(train_here(compile_demo(*settings, f"training.snr_gamma={gamma}")))
    alphas = load_scheduler(demo / "model").alphas_cumprod
    seed = _spec(bundle).training.seed
    weights = []
    for number, (without, row) in enumerate(zip(plain, weighted, strict=True)):
        timestep = int(stream(seed, Purpose.TIMESTEP, number).integers(_TIMESTEPS))
        alpha = float(alphas[timestep])
        snr = alpha / (1 - alpha)
        # arXiv 2303.09556, section 3.4: of the velocity.
        weights.append(min(snr, gamma) / (snr + 1))
        assert row["loss"] == pytest.approx(weights[-1] * without["loss"], rel=1e-4)
    assert min(weights) < 0.5 * max(weights)
