"""Captions and clips to encodings, once: what is in the cache is never encoded again.

An encoding is decided by its key alone: each caption and each clip goes through its encoder by
itself, since the other rows of a batch could change its last bits.
"""

import hashlib
import inspect
from collections.abc import Callable, Generator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from attrs import frozen

from cvbundle.dataset.manifest import Sample
from cvbundle.files.digest import sha256_bytes
from cvbundle.model.pin import component_digest
from cvbundle.problems import UserError
from cvbundle.training import components
from cvbundle.training.ahead import made_ahead
from cvbundle.training.cache import EncodingCache, encoding_key
from cvbundle.training.device import arithmetic
from cvbundle.training.encoders import Pixels, encode_caption, encode_pixels, scaled
from cvbundle.training.job import Job

if TYPE_CHECKING:
    pass

_AHEAD = 2
"""Clips that are decoded while one is encoded."""


_TEXT_CODE = ("cvbundle.training.components", "cvbundle.training.pretrained")
"""The modules that decide what a caption is encoded to."""
_PIXEL_CODE = (
    "cvbundle.training.components",
    "cvbundle.training.pretrained",
    "cvbundle.dataset.container",
    "cvbundle.dataset.decode",
    "cvbundle.dataset.frames",
    "cvbundle.training.images",
)
"""The modules that decide what a clip or an image is encoded to."""


@frozen(kw_only=True)
class SampleKeys:
    """Where the encodings of a sample are in the cache."""

    caption: str
    clip: str
    """The VAE's moments of the clip, [2C, F, H, W]."""
    image: str | None
    """Image to video: pixels [3, H, W] uint8 if noise goes on them, else moments [2C, 1, H, W]."""


class Encoder:
    """Knows the key of every encoding of a job, and makes those that the cache lacks."""

    def __init__(self, job: Job, cache: EncodingCache) -> None:
        self.cache = cache
        self._job = job
        self._dtype = components.DTYPES[job.spec.training.mixed_precision]
        common = {
            "device": arithmetic(job.device),
            "dtype": str(self._dtype),
            "torch": version("torch"),
        }
        self._text = {
            **common,
            "kind": "caption",
            "encoder": component_digest(job.model_files, "text_encoder", "tokenizer"),
            "length": job.architecture.transformer.max_text_seq_length,
            "code": _code(*_TEXT_CODE, encode_caption),
            "packages": [version("transformers"), version("tokenizers")],
        }
        self._video = {
            **common,
            "encoder": component_digest(job.model_files, "vae"),
            "code": _code(*_PIXEL_CODE, encode_pixels, scaled),
            "packages": [version("diffusers"), version("av"), version("pillow")],
            "size": [job.spec.data.resolution.height, job.spec.data.resolution.width],
            "tiling": job.spec.data.vae_tiling,
        }

    def caption_key(self, caption: str) -> str:
        """The key of a caption's embedding."""
        return encoding_key({**self._text, "caption": caption})

    def embedding(self, caption: str) -> torch.Tensor:
        """A caption's embedding [length, dim], which is in the cache."""
        return self.cache.read(self.caption_key(caption))

    def keys(self, sample: Sample) -> SampleKeys:
        """The keys of a sample's encodings."""
        return SampleKeys(
            caption=self.caption_key(sample.caption),
            clip=self._clip_key(sample),
            image=self._image_key(sample) if self._job.spec.model.type == "i2v" else None,
        )

    def _clip_key(self, sample: Sample) -> str:
        return encoding_key({**self._video, "kind": "clip", **_pixels_of(sample)})

    def _image_key(self, sample: Sample) -> str:
        kind = "pixels" if self._image_is_noisy else "image"
        if sample.image is not None:
            made_of: dict[str, object] = {
                "image": sample.image.digest,
                "fit": self._job.spec.data.fit,
            }
        else:
            made_of = _pixels_of(sample) | {"chosen": sample.chosen[:1]}
        return encoding_key({**self._video, "kind": kind, **made_of})

    @property
    def _image_is_noisy(self) -> bool:
        """Noise goes on the image's pixels anew at each visit, so its latents can't be kept."""
        return self._job.spec.training.image_noise is not None

    def missing_captions(self, captions: Sequence[str]) -> list[str]:
        """The captions that the cache lacks, each once, in order."""
        return [c for c in dict.fromkeys(captions) if not self.cache.has(self.caption_key(c))]

    def missing_clips(self, samples: Sequence[Sample]) -> list[Sample]:
        """One sample for each clip that the cache lacks, in order."""
        missing: dict[str, Sample] = {}
        for sample in samples:
            keys = self.keys(sample)
            needed = [key for key in (keys.clip, keys.image) if key is not None]
            if not all(self.cache.has(key) for key in needed):
                missing.setdefault(keys.clip + (keys.image or ""), sample)
        return list(missing.values())

    def encode_captions(self, captions: Sequence[str], device: torch.device) -> Generator[str]:
        """Encode captions, and yield each when its encoding is in place."""
        tokenizer = components.load_tokenizer(self._job.model_folder)
        encoder = components.load_text_encoder(self._job.model_folder, self._dtype, device)
        length = self._job.architecture.transformer.max_text_seq_length
        for caption in captions:
            embedding = encode_caption(caption, tokenizer, encoder, length)
            self.cache.write(self.caption_key(caption), embedding)
            yield caption

    def encode_clips(self, samples: Sequence[Sample], device: torch.device) -> Generator[Sample]:
        """Encode clips, and yield each when its encodings are in place; decoding runs ahead."""
        data = self._job.spec.data
        vae = components.load_vae(
            self._job.model_folder,
            self._dtype,
            device,
            tiling=data.vae_tiling,
            slicing=data.vae_slicing,
            decoder=False,
        )
        for sample, pixels in made_ahead(samples, self._decode, threads=_AHEAD, ahead=_AHEAD):
            keys = self.keys(sample)
            self.cache.write(keys.clip, encode_pixels(pixels, vae))
            if keys.image is not None:
                image = pixels[:1] if sample.image is None else self._image(sample)
                if self._image_is_noisy:
                    self.cache.write(keys.image, torch.from_numpy(image[0]).permute(2, 0, 1))
                else:
                    self.cache.write(keys.image, encode_pixels(image, vae))
            yield sample

    def _decode(self, sample: Sample) -> Pixels:
        from cvbundle.dataset import decode
        from cvbundle.dataset.bad_clip import BadClip

        content = self._verified(sample.clip, sample.digest)
        size = self._job.spec.data.resolution
        try:
            return decode.decode(content, sample, size.height, size.width)
        except BadClip as error:
            raise UserError(f"{self._job.data_root / sample.clip} {error}") from None

    def _image(self, sample: Sample) -> Pixels:
        from cvbundle.dataset.bad_clip import BadClip
        from cvbundle.training import images

        assert sample.image is not None
        content = self._verified(sample.image.path, sample.image.digest)
        data = self._job.spec.data
        size = data.resolution
        try:
            return images.decode_image(content, data.fit, size.height, size.width)[None]
        except BadClip as error:
            raise UserError(f"{self._job.data_root / sample.image.path} {error}") from None

    def _verified(self, name: str, digest: str) -> bytes:
        """A file's bytes, which are those that the manifest names."""
        path = self._job.data_root / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} can't be read ({error.strerror})") from None
        if sha256_bytes(content) != digest:
            raise UserError(
                f"{path} has changed since the bundle was compiled: "
                "bring back the file, or compile again"
            )
        return content


def _pixels_of(sample: Sample) -> dict[str, object]:
    crop = sample.crop
    return {
        "clip": sample.digest,
        "chosen": sample.chosen,
        "crop": (crop.top, crop.left, crop.height, crop.width),
    }


def _code(*parts: str | Callable[..., object]) -> str:
    """The digest of the code that makes an encoding, in modules (not imported here) and functions.

    With every clip in the cache nothing has to be decoded, so no video library has to be loaded.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            spec = find_spec(part)
            assert spec is not None
            assert spec.origin is not None
            digest.update(Path(spec.origin).read_bytes())
        else:
            digest.update(inspect.getsource(part).encode())
    return digest.hexdigest()
