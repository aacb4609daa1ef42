"""What is fuzzed: each target takes one file's content and gives it to a command.

A case is wrong if a command ends in anything but an exit code of its own, or writes where it may
not. Exceptions are what the fuzzer looks for, so nothing here catches them.
"""

import io
import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from backports import zstd

from cvbundle.authoring.demo import write_demo
from cvbundle.authoring.starters import all_starters, starter_text
from cvbundle.cli import main
from cvbundle.dataset.probe import PROBE_VERSION, Depth
from cvbundle.dataset.probing import File, ProbeTask
from cvbundle.dataset.workers import Workers
from cvbundle.files.digest import sha256_file
from cvbundle.files.identity import identity_of
from tests.dataset.clips import make_clip


class Target(ABC):
    """A kind of file, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prepare()
        self._files = self._listed()

    @abstractmethod
    def prepare(self) -> None:
        """Make what all cases share."""

    @abstractmethod
    def seeds(self) -> Iterator[bytes]:
        """Files that are as they should be."""

    @abstractmethod
    def run(self, content: bytes) -> None:
        """Use a file."""

    def check(self, content: bytes) -> None:
        """Use a file, and look for what it left behind."""
        self.run(content)
        left = self._listed() ^ self._files
        assert not left, f"left behind or removed: {sorted(left)}"

    def _listed(self) -> set[str]:
        return {str(path) for path in self.folder.rglob("*") if "cache" not in path.parts}

    def write(self, name: str, content: bytes) -> Path:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def command(*arguments: str) -> int:
    """The exit code of a command, which is one of three and says everything by itself."""
    output, code = io.StringIO(), None
    try:
        with redirect_stdout(output), redirect_stderr(output):
            main(list(arguments))
    except SystemExit as ended:
        code = ended.code
    assert code in (0, 1, 2), (code, output.getvalue())
    assert "Traceback" not in output.getvalue()
    return int(code)


class Spec(Target):
    """A spec."""

    def prepare(self) -> None:
        self.write("spec.yaml", b"")

    def seeds(self) -> Iterator[bytes]:
        for starter in all_starters():
            yield starter_text(starter).encode()

    def run(self, content: bytes) -> None:
        path = self.write("spec.yaml", content)
        style = ("text", "json", "github")[len(content) % 3]
        command("check", str(path), "--format", style)


_DATA_SPEC = """\
cvbundle: 1
name: fuzz
model: {{path: THUDM/CogVideoX-2b, revision: 1137dacfc2c9c012bed6a0793f4ecf2ca8e7ba01}}
data: {{root: data, metadata: {metadata}{captions}}}
training: {{steps: 10}}
"""


class Table(Target):
    """A dataset's table, or its two lists."""

    _NAMES = ("t.csv", "t.tsv", "t.jsonl", "t.parquet", "videos.txt", "prompts.txt")

    def prepare(self) -> None:
        self.write("data/a.mp4", make_clip())
        self.write("data/a.txt", b"a cat\n")
        self.write("data/videos.txt", b"a.mp4\na.mp4\n")
        self.write("data/prompts.txt", b"a cat\na dog\n")
        for name in (*self._NAMES[:4], "spec.yaml"):
            self.write(name if name == "spec.yaml" else f"data/{name}", b"")

    def seeds(self) -> Iterator[bytes]:
        yield b"\0video,caption\na.mp4,a cat\n"
        yield b'\0video,caption\n"a.mp4","a ""cat"",\nblack"\n'
        yield b"\1video\tcaption\na.mp4\ta cat\n"
        yield b'\2{"video": "a.mp4", "caption": "a cat"}\n'
        yield b'\2{"video": "a.mp4", "caption": "\\u00e9"}\n\n'
        yield b"\4a.mp4\n\na.mp4\n"
        yield b"\5a cat\na dog\n"
        try:
            from pyarrow import parquet, table
        except ImportError:
            return
        buffer = io.BytesIO()
        parquet.write_table(table({"video": ["a.mp4"], "caption": ["a cat"]}), buffer)
        yield b"\3" + buffer.getvalue()

    def run(self, content: bytes) -> None:
        name = self._NAMES[content[0] % len(self._NAMES)] if content else self._NAMES[0]
        path = self.folder / "data" / name
        before = path.read_bytes()
        path.write_bytes(content[1:])
        metadata = "null" if name.endswith(".txt") else name
        # Captions may be files beside the clips, too.
        captions = ', caption_column: "*.txt"' if len(content) % 2 else ""
        spec = _DATA_SPEC.format(metadata=metadata, captions=captions)
        command("check", str(self.write("spec.yaml", spec.encode())), "--format", "json")
        path.write_bytes(before)


class Clip(Target):
    """A clip, opened by a worker."""

    _IS_IMAGE = False

    def prepare(self) -> None:
        self._workers = Workers(1)
        self.write("file", b"")

    def seeds(self) -> Iterator[bytes]:
        yield make_clip()
        yield make_clip(3, container="matroska")
        yield make_clip(3, container="avi")
        yield make_clip(3, codec="mpeg4", container="avi")
        yield make_clip(3, codec="gif", container="gif")

    def run(self, content: bytes) -> None:
        path = self.write("file", content)
        files = (File(str(path), is_image=self._IS_IMAGE),)
        task = ProbeTask(files, (identity_of(path.stat()),), Depth.NEEDED, PROBE_VERSION)
        (result,) = self._workers.submit(lambda _: [], task).result()
        assert "its decoder" not in str(result), result


class Image(Clip):
    """A first frame, opened by a worker."""

    _IS_IMAGE = True

    def seeds(self) -> Iterator[bytes]:
        from PIL import Image as Pillow

        for format in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
            buffer = io.BytesIO()
            Pillow.new("RGB", (20, 10)).save(buffer, format)
            yield buffer.getvalue()


def _demo_bundle(folder: Path) -> Path:
    """A bundle of a demo in a folder."""
    write_demo(folder / "demo", "cogvideox-2b", "lora")
    command("compile", str(folder / "demo/spec.yaml"), "--out", str(folder / "store"))
    (bundle,) = (folder / "store").iterdir()
    return bundle


class Archive(Target):
    """An archive, before it is compressed."""

    def prepare(self) -> None:
        os.environ["CVBUNDLE_CACHE"] = str(self.folder / "cache")
        bundle = _demo_bundle(self.folder)
        self._archive = self.folder / "a.tar.zst"
        command("archive", str(bundle), "-o", str(self._archive))
        self._honest = zstd.decompress(self._archive.read_bytes())
        for path in (self.folder / "store").rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(self.folder / "store")
        (self.folder / "store").mkdir()

    def seeds(self) -> Iterator[bytes]:
        yield self._honest
        # The header alone, and each member alone, are found faster.
        with tarfile.open(fileobj=io.BytesIO(self._honest)) as tar:
            members = list(tar)
        for member in members[:5]:
            yield self._honest[member.offset : member.offset_data + member.size]

    def run(self, content: bytes) -> None:
        self._archive.write_bytes(zstd.compress(content, level=1))
        if command("unpack", str(self._archive), "--out", str(self.folder / "store")) == 0:
            (bundle,) = (self.folder / "store").iterdir()
            _remove(bundle)


class Bundle(Target):
    """A file of a bundle: the first byte says which, the second what is done with it."""

    _COMMANDS: tuple[Callable[[str, str], tuple[str, ...]], ...] = (
        lambda bundle, other: ("show", bundle),
        lambda bundle, other: ("diff", bundle, other),
        lambda bundle, other: ("verify", bundle),
        lambda bundle, other: ("list", "--store", str(Path(bundle).parent)),
        lambda bundle, other: ("run", "--dry-run", bundle),
        lambda bundle, other: ("archive", bundle, "-o", f"{bundle}/../../out.tar.zst"),
    )

    def prepare(self) -> None:
        os.environ["CVBUNDLE_CACHE"] = str(self.folder / "cache")
        bundle = _demo_bundle(self.folder)
        for path in bundle.rglob("*"):
            path.chmod(0o755)
        self.write("out.tar.zst", b"")
        self._bundle = bundle
        self._other = self.folder / "other"
        shutil.copytree(bundle, self._other)
        run = bundle / "runs/0001"
        run.mkdir(parents=True)
        (run / "run.json").write_bytes(b'{"status": "failed", "bundle": "0", "phases": {}}\n')
        (run / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 0.5}\n')
        self._names = sorted(
            path.relative_to(bundle).as_posix()
            for path in bundle.rglob("*")
            if path.is_file() and "code" not in path.relative_to(bundle).parts
        )

    def seeds(self) -> Iterator[bytes]:
        for number, name in enumerate(self._names):
            for action in range(number % 2, 2 * len(self._COMMANDS), 2):
                yield bytes([number, action]) + (self._bundle / name).read_bytes()

    def run(self, content: bytes) -> None:
        number, action, *_ = (*content[:2], 0, 0)
        path = self._bundle / self._names[number % len(self._names)]
        before = path.read_bytes()
        sums = self._bundle / "SHA256SUMS"
        sums_before = sums.read_bytes()
        path.write_bytes(content[2:])
        if action >= len(self._COMMANDS) and path != sums:
            _seal(self._bundle)
        bundle = self._bundle
        make = self._COMMANDS[action % len(self._COMMANDS)]
        command(*make(str(bundle), str(self._other)))
        path.write_bytes(before)
        sums.write_bytes(sums_before)


def _seal(bundle: Path) -> None:
    """Write SHA256SUMS again, as whoever hands on a changed bundle does."""
    sums = bundle / "SHA256SUMS"
    names = [line.split("  ", 1)[1] for line in sums.read_text().splitlines()]
    sums.write_text("".join(f"{sha256_file(bundle / name)}  {name}\n" for name in names))


class Script(Target):
    """A launch script or config of another trainer."""

    def prepare(self) -> None:
        self.write("start.sh", b"")
        self.write("config.yaml", b"")

    def seeds(self) -> Iterator[bytes]:
        from tests.authoring.upstream import test_convert

        for value in vars(test_convert).values():
            if isinstance(value, str) and "\n" in value and "model" in value:
                yield value.encode()

    def run(self, content: bytes) -> None:
        name = "start.sh" if content.startswith(b"#") or b"--" in content else "config.yaml"
        path = self.write(name, content)
        command("init", "--from", str(path), "-")


class Model(Target):
    """A file of a model's folder: the first byte says which."""

    def prepare(self) -> None:
        os.environ["CVBUNDLE_CACHE"] = str(self.folder / "cache")
        write_demo(self.folder / "demo", "cogvideox-2b", "lora")
        model = self.folder / "demo/model"
        self._names = sorted(
            path.relative_to(model).as_posix()
            for path in model.rglob("*")
            if path.is_file() and path.stat().st_size < 1 << 20
        )

    def seeds(self) -> Iterator[bytes]:
        for number, name in enumerate(self._names):
            yield bytes([number]) + (self.folder / "demo/model" / name).read_bytes()

    def run(self, content: bytes) -> None:
        name = self._names[content[0] % len(self._names)] if content else self._names[0]
        path = self.folder / "demo/model" / name
        before = path.read_bytes()
        path.write_bytes(content[1:])
        command("check", str(self.folder / "demo/spec.yaml"), "--format", "json")
        path.write_bytes(before)


def _remove(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


TARGETS: dict[str, type[Target]] = {
    "archives": Archive,
    "bundles": Bundle,
    "clips": Clip,
    "images": Image,
    "models": Model,
    "scripts": Script,
    "specs": Spec,
    "tables": Table,
}
