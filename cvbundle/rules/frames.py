"""Rules about the number of frames of a sample."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.legal import nearest_frames, nearest_legal
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import Resolution

_FIELD = "data.resolution"


@rule(
    "frames-vae",
    Severity.ERROR,
    why="The VAE encodes the first frame to one latent frame, and every four after it to one; it "
    "truncates any other count silently.",
    source="diffusers autoencoder_kl_cogvideox.py, _encode; executed: 48 frames give 12 latents",
    reads=(_FIELD,),
    needs_model=True,
    good={_FIELD: "49x480x720"},
    bad={_FIELD: "48x480x720"},
)
def frames_vae(subject: Subject) -> Iterator[Finding]:
    """The frames are 4k + 1, for the model's own temporal compression."""
    size = subject.spec.data.resolution
    stride = subject.model.architecture.vae.temporal_compression_ratio
    if (size.frames - 1) % stride:
        yield Finding.write(
            _FIELD,
            f"{size.frames} frames: (frames - 1) must be a multiple of {stride}",
            str(nearest_legal(size, subject.model)),
        )


@rule(
    "frames-8n-plus-1",
    Severity.WAIVABLE,
    why="The models were trained on 8n + 1 frames (16n + 1 for 1.5); 4n + 1 runs, and on 1.5 even "
    "saves the padding, but the models were not trained on it.",
    source="zai-org/CogVideo README.md:189-258, finetune/schemas/args.py:148",
    reads=(_FIELD,),
    needs_model=True,
    good={_FIELD: "41x480x720"},
    bad={_FIELD: "45x480x720"},
)
def frames_8n_plus_1(subject: Subject) -> Iterator[Finding]:
    """The frames are 8n + 1."""
    size = subject.spec.data.resolution
    stride = subject.model.architecture.vae.temporal_compression_ratio
    if subject.model.architecture.transformer.use_learned_positional_embeddings:
        return  # frames-fixed is stricter
    if (size.frames - 1) % stride == 0 and (size.frames - 1) % (2 * stride):
        legal = nearest_legal(size, subject.model)
        frames = nearest_frames(size.frames, 2 * stride)
        yield Finding.write(
            _FIELD,
            f"{size.frames} frames: the models were trained on {2 * stride}n + 1",
            str(Resolution(frames, legal.height, legal.width)),
        )


@rule(
    "frames-fixed",
    Severity.ERROR,
    why="Learned position embeddings are silently replaced by computed ones at any other count.",
    source="diffusers embeddings.py, CogVideoXPatchEmbed (756-770); executed",
    reads=(_FIELD,),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b-I2V", _FIELD: "49x480x720"},
    bad={"model.path": "THUDM/CogVideoX-5b-I2V", _FIELD: "41x480x720"},
)
def frames_fixed(subject: Subject) -> Iterator[Finding]:
    """A model with learned positions needs exactly its own number of frames."""
    size = subject.spec.data.resolution
    transformer = subject.model.architecture.transformer
    if not transformer.use_learned_positional_embeddings:
        return
    if size.frames != transformer.sample_frames:
        yield Finding.write(
            _FIELD,
            f"{size.frames} frames: this model's learned positions are for exactly "
            f"{transformer.sample_frames}",
            str(nearest_legal(size, subject.model)),
        )
