"""Tiny seeded models of the real architectures, in diffusers layout, for a CPU.

`python -m cvbundle.training.tiny FOLDER NAME` writes one. Widths and depths are small; everything
that decides which code runs (positions, channels, patches, scales, the VAE's compression) is the
named model's own.
"""

import io
import json
import sys
from pathlib import Path

import sentencepiece
import torch
from attrs import asdict, evolve
from transformers import T5Config, T5EncoderModel

from cvbundle.files.durable import new_folder
from cvbundle.spec.tables.architecture import Transformer
from cvbundle.spec.tables.models import MODELS, Card
from cvbundle.training.models import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
)

_SEED = 0
_WIDTH = 32
"""Of the text encoder."""
_VOCABULARY = 256
_TOKENS = ("\u2581", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'-")
_TEXT = "a panda plays a guitar in a quiet bamboo forest while the square moves to the right"


def write_tiny_model(folder: Path, name: str) -> None:
    """Write a tiny model of the named architecture; the same bytes every time.

    Raises:
        KeyError: there is no such model.
    """
    card = MODELS[name]
    with new_folder(folder) as temporary:
        torch.manual_seed(_SEED)
        _transformer(card).save_pretrained(temporary / "transformer")
        _vae(card).save_pretrained(temporary / "vae")
        _text_encoder().save_pretrained(temporary / "text_encoder")
        _scheduler(card).save_pretrained(temporary / "scheduler")
        _write_tokenizer(temporary / "tokenizer")
        _write_index(temporary, card)


def tiny_transformer(transformer: Transformer) -> Transformer:
    """The config of a tiny transformer: two layers of two heads, 9 frames of 64 x 96 pixels."""
    return evolve(
        transformer,
        num_layers=2,
        num_attention_heads=2,
        text_embed_dim=_WIDTH,
        time_embed_dim=64,
        ofs_embed_dim=None if transformer.ofs_embed_dim is None else 64,
        sample_height=8,
        sample_width=12,
        sample_frames=9,
    )


def _transformer(card: Card) -> CogVideoXTransformer3DModel:
    config = asdict(tiny_transformer(card.architecture.transformer))
    transformer: CogVideoXTransformer3DModel = CogVideoXTransformer3DModel(**config)
    return transformer


def _vae(card: Card) -> AutoencoderKLCogVideoX:
    vae = card.architecture.vae
    tiny: AutoencoderKLCogVideoX = AutoencoderKLCogVideoX(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=vae.latent_channels,
        scaling_factor=vae.scaling_factor,
        invert_scale_latents=vae.invert_scale_latents,
        # The real one's, or tiling breaks.
        sample_height=480,
        sample_width=720,
    )
    return tiny


def _text_encoder() -> T5EncoderModel:
    config = T5Config(
        vocab_size=_VOCABULARY,
        d_model=_WIDTH,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    return T5EncoderModel(config)


def _scheduler(card: Card) -> CogVideoXDDIMScheduler:
    config = asdict(card.architecture.scheduler)
    scheduler: CogVideoXDDIMScheduler
    scheduler = CogVideoXDDIMScheduler(**config, clip_sample=False, set_alpha_to_one=True)
    return scheduler


def _write_tokenizer(folder: Path) -> None:
    """A tokenizer of T5's kind, in the files that the hub's models have."""
    folder.mkdir()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([_TEXT, "".join(_TOKENS)] * 4),
        model_writer=model,
        model_type="unigram",
        vocab_size=128,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    config = {
        "tokenizer_class": "T5Tokenizer",
        "model_max_length": 226,
        "extra_ids": 100,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))


def _write_index(folder: Path, card: Card) -> None:
    image = "ImageToVideo" if card.task == "i2v" else ""
    index = {
        "_class_name": f"CogVideoX{image}Pipeline",
        "scheduler": ["diffusers", "CogVideoXDDIMScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "CogVideoXTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLCogVideoX"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2, sort_keys=True))


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]), sys.argv[2])
