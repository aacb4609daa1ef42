"""The first phases of a run: every encoding that it needs is put into the cache."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

import torch

from cvbundle.dataset.manifest import Sample
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.encodings import note_use
from cvbundle.model.pin import verify_files
from cvbundle.training.cache import DamagedEncoding
from cvbundle.training.device import free
from cvbundle.training.encode import Encoder
from cvbundle.training.job import Job
from cvbundle.training.outputs import Outputs
from cvbundle.training.processes import Processes, Stopped

T = TypeVar("T")


def fill_cache(
    job: Job, encoder: Encoder, processes: Processes, outputs: Outputs, stop: threading.Event
) -> None:
    """Verify the weights, then encode what the cache lacks; each process its share.

    Raises:
        UserError: weights, clips or images are not those that the bundle names.
        Stopped: a process was asked to stop.
    """
    captions, clips = tuple(dict.fromkeys(_captions(job))), job.samples
    with processes.together():
        if processes.leads:
            note_use(cache_folder(), job.bundle.folder, _keys(encoder, captions, clips))
        if processes.leads_machine and job.hub_commit is None:
            with outputs.record.phase("verify"):
                _verify(job, encoder, captions)
    filling = _Filling(encoder, processes, outputs, stop)
    # Shared out before looking what is there: while one process looks, another one writes.
    filling.encode(processes.share(captions), processes.share(clips))
    # Machines that don't share a cache lack what the others have encoded.
    left = encoder.missing_captions(captions), encoder.missing_clips(clips)
    processes.wait()
    filling.encode(processes.share_on_machine(left[0]), processes.share_on_machine(left[1]))
    processes.wait()


@contextmanager
def damage_removed(job: Job, encoder: Encoder) -> Iterator[None]:
    """Where one encoding turns out to be damaged, remove all that are: one run makes them anew.

    Raises:
        DamagedEncoding: one is.
    """
    try:
        yield
    except DamagedEncoding as error:
        keys = set(_keys(encoder, tuple(_captions(job)), job.samples))
        others = sum(map(encoder.cache.remove_if_damaged, keys))
        raise DamagedEncoding(error.path, others) from None


class _Filling:
    """Encodes this process's share of captions and clips, one item at a time."""

    def __init__(
        self, encoder: Encoder, processes: Processes, outputs: Outputs, stop: threading.Event
    ) -> None:
        self._encoder = encoder
        self._processes = processes
        self._outputs = outputs
        self._stop = stop

    def encode(self, captions: Sequence[str], clips: Sequence[Sample]) -> None:
        """Encode those that the cache lacks."""
        encoder = self._encoder
        missing = encoder.missing_captions(captions)
        self._each("captions", "caption", missing, encoder.encode_captions)
        missing_clips = encoder.missing_clips(clips)
        self._each("clips", "clip", missing_clips, encoder.encode_clips)

    def _each(
        self,
        name: str,
        unit: str,
        missing: Sequence[T],
        encode: Callable[[Sequence[T], torch.device], Generator[T]],
    ) -> None:
        """Encode items in turn, so that after each all processes learn of a failure or a stop."""
        processes, outputs = self._processes, self._outputs
        if not processes.any(bool(missing)):
            return
        done = 0
        with (
            outputs.record.phase(name),
            outputs.reporter.phase(name, len(missing), unit=unit) as bar,
            # Its frame holds the encoder until it is closed.
            closing(encode(missing, processes.device)) as encoding,
        ):
            while processes.any(done < len(missing)):
                with processes.together():
                    if done < len(missing):
                        next(encoding)
                        done += 1
                        bar.advance()
                    if self._stop.is_set():
                        raise Stopped(f"while {name} were encoded")
        free(processes.device)


def _verify(job: Job, encoder: Encoder, captions: Sequence[str]) -> None:
    """Compare the weights that will be loaded with the digests that the bundle pins."""
    needed = {"transformer", "scheduler"}
    if encoder.missing_captions(captions):
        needed |= {"text_encoder", "tokenizer"}
    samples_or_images = job.spec.validation is not None or job.spec.model.type == "i2v"
    if samples_or_images or encoder.missing_clips(job.samples):
        needed.add("vae")
    files = [file for file in job.model_files if file.path.split("/")[0] in needed]
    verify_files(job.model_folder, files)


def _keys(encoder: Encoder, captions: Sequence[str], clips: Sequence[Sample]) -> Iterator[str]:
    """The key of every encoding that the run reads."""
    yield from map(encoder.caption_key, captions)
    for sample in clips:
        keys = encoder.keys(sample)
        yield keys.clip
        if keys.image is not None:
            yield keys.image


def _captions(job: Job) -> list[str]:
    """Every text that has to be embedded: captions, none, and validation prompts."""
    captions = [sample.caption for sample in job.samples]
    if job.spec.data.caption_dropout > 0 or job.spec.validation is not None:
        captions.append("")
    if job.spec.validation is not None:
        captions.extend(job.spec.validation.prompts)
    return captions
