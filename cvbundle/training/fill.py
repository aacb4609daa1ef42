"""The first phases of a run: every encoding that it needs is brought into the cache."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import torch

from cvbundle.dataset.manifest import Sample
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.encodings import note_use
from cvbundle.model.pin import verify_files
from cvbundle.training.device import free
from cvbundle.training.job import Job
from cvbundle.training.session import Session, Stopped

T = TypeVar("T")


def fill_cache(session: Session) -> None:
    """Encode what the cache lacks, each process its share."""
    job, encoder = session.job, session.encoder
    captions, clips = tuple(dict.fromkeys(_captions(job))), job.samples
    with session.together():
        if session.leads:
            note_use(cache_folder(), job.bundle.folder, _needed(session, captions))
        _verify(session)
    # Shared out before it is looked what is there: while one process looks, another one writes.
    _encode(session, session.share(captions), session.share(clips))
    # Machines that don't share a cache lack what the others made.
    left = encoder.missing_captions(captions), encoder.missing_clips(clips)
    session.accelerator.wait_for_everyone()
    _encode(session, session.share_on_machine(left[0]), session.share_on_machine(left[1]))
    session.accelerator.wait_for_everyone()


def _encode(session: Session, captions: Sequence[str], clips: Sequence[Sample]) -> None:
    encoder = session.encoder
    missing_captions = encoder.missing_captions(captions)
    _each(session, "captions", "caption", missing_captions, encoder.encode_captions)
    missing_clips = encoder.missing_clips(clips)
    _each(session, "clips", "clip", missing_clips, encoder.encode_clips)


def _each(
    session: Session,
    name: str,
    unit: str,
    missing: Sequence[T],
    work: Callable[[Sequence[T], torch.device], Generator[T]],
) -> None:
    """Encode this process's share; one item at a time, so that all hear of a failure or a stop."""
    if not session.any(bool(missing)):
        return
    done = 0
    with (
        session.record.phase(name),
        session.reporter.phase(name, len(missing), unit=unit) as bar,
        # Its frame holds the encoder until it is closed.
        closing(work(missing, session.device)) as encoding,
    ):
        while session.any(done < len(missing)):
            with session.together():
                if done < len(missing):
                    next(encoding)
                    done += 1
                    bar.advance()
                if session.stop.is_set():
                    raise Stopped(f"while {name} were encoded")
    free(session.device)


def _verify(session: Session) -> None:
    """Make sure that the weights which will be loaded are those that the bundle pins."""
    job, encoder = session.job, session.encoder
    if job.hub_commit is not None or not session.accelerator.is_local_main_process:
        return
    needed = {"transformer", "scheduler"}
    if encoder.missing_captions(_captions(job)):
        needed |= {"text_encoder", "tokenizer"}
    samples_or_images = job.spec.validation is not None or job.spec.model.type == "i2v"
    if samples_or_images or encoder.missing_clips(job.samples):
        needed.add("vae")
    files = [file for file in job.model_files if file.path.split("/")[0] in needed]
    with session.record.phase("verify"):
        verify_files(job.model_folder, files)


def _needed(session: Session, captions: Sequence[str]) -> Iterator[str]:
    """The key of every encoding that the run reads."""
    yield from map(session.encoder.caption_key, captions)
    for sample in session.job.samples:
        keys = session.encoder.keys(sample)
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
