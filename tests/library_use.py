"""A script that uses all of the library, for type checkers: nothing of it is run.

`assert_type` fails where a name is `Any` from outside.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import cvbundle
from cvbundle import CvbundleError, ProblemsFound, UserError


class Silent:
    """A progress that shows nothing."""

    def begin(self, files: int) -> None: ...
    def advance(self, files: int, size: int) -> None: ...
    def end(self) -> None: ...


def specs(spec: Path) -> None:
    """Write, convert, explain, check and fix specs."""
    starter = cvbundle.find_starter("cogvideox-5b-lora")
    assert_type(starter, cvbundle.Starter)
    assert_type(cvbundle.all_starters(), tuple[cvbundle.Starter, ...])
    spec.write_text(cvbundle.starter_text(starter))
    converted = cvbundle.convert_file(Path("train.sh"))
    assert_type(converted, cvbundle.Converted)
    assert_type(converted.notes, tuple[str, ...])
    assert_type(cvbundle.json_schema(), dict[str, object])
    try:
        for topic in cvbundle.find_topics("lora.rank"):
            assert_type(cvbundle.topic_text(topic), str)
            assert_type(cvbundle.topic_data(topic), dict[str, object])
    except cvbundle.UnknownTopic as error:
        assert_type(error.near, str | None)
    progress: cvbundle.Progress = cvbundle.ProgressBar()
    for scanning in (
        None,
        cvbundle.Scanning(progress=progress),
        cvbundle.Scanning(progress=Silent()),
    ):
        checked = cvbundle.check_file(spec, ["lora.rank=4"], scanning=scanning)
        assert_type(checked, cvbundle.Checked)
        assert_type(checked.first.spec, cvbundle.Spec)
        for problem in checked.problems:
            assert_type(problem, cvbundle.Problem)
            assert_type(problem.place, cvbundle.Place)
            assert_type(problem.severity, cvbundle.Severity)
            assert_type(cvbundle.render_text(problem), str)
            assert_type(cvbundle.render_github(problem), str)
        assert_type(cvbundle.render_json(checked.problems), str)
    fix = cvbundle.plan_fix(spec)
    assert_type(fix, cvbundle.Fix)
    fix.write()


def bundles(spec: Path, store: Path) -> cvbundle.Bundle:
    """Compile, describe, compare, verify and archive bundles."""
    compilation = cvbundle.compile_file(spec, store, settings=["training.steps=2"])
    assert_type(compilation, cvbundle.Compilation)
    compiled = compilation.only
    assert_type(compiled, cvbundle.Compiled)
    bundle = compiled.bundle
    assert_type(bundle, cvbundle.Bundle)
    assert_type(cvbundle.find_bundle(compiled.digest, store), cvbundle.Bundle)
    assert_type(cvbundle.list_bundles(store), tuple[cvbundle.Bundle, ...])
    assert_type(cvbundle.list_store(store, ["lora.rank=4"]), list[cvbundle.Listed])
    assert_type(cvbundle.describe(bundle), cvbundle.Description)
    assert_type(cvbundle.compare_bundles(str(bundle), str(spec)), cvbundle.Comparison)
    assert_type(cvbundle.verify_bundle(bundle, weights=False), cvbundle.Verification)
    assert_type([str(each) for each in cvbundle.differences(bundle)], list[str])
    archived = cvbundle.archive_bundle(bundle, "bundle.tar.zst", ["runs"])
    assert_type(archived, cvbundle.Archived)
    assert_type(cvbundle.unpack_archive("bundle.tar.zst", store), cvbundle.Unpacked)
    return bundle


def runs(bundle: cvbundle.Bundle) -> None:
    """Rehearse, run, reproduce and sample."""
    gpu = cvbundle.GPUS["4090"]
    assert_type(gpu, cvbundle.Gpu)
    assert_type(cvbundle.rehearse_bundle(bundle, gpu), cvbundle.Rehearsal)
    options = cvbundle.RunOptions(num_processes=2, allow_drift=True)
    launch = cvbundle.plan_launch(bundle, options, choice="fresh", notify=lambda _: None)
    assert_type(launch, cvbundle.Launch)
    assert_type(cvbundle.execute(launch), cvbundle.Outcome)
    outcome = cvbundle.run_bundle(bundle, options)
    assert_type(outcome.run, cvbundle.Run | None)
    if outcome.run is not None:
        result = cvbundle.result_of(outcome.run)
        assert_type(result, cvbundle.Result)
        assert_type(result.final_loss, float | None)
        assert_type(result.digests, Mapping[str, str])
        assert_type(list(cvbundle.result_files(outcome.run)), list[Path])
    assert_type(cvbundle.reproduce(bundle), cvbundle.Reproduction)
    request = cvbundle.SampleRequest(prompt="A cat.", output=Path("cat.mp4"))
    assert_type(cvbundle.make_sample(str(bundle), request), int)
    folder = cvbundle.cache_folder()
    assert_type(cvbundle.cache_contents(folder), cvbundle.CacheContents)
    assert_type(cvbundle.prune_cache(folder), cvbundle.CacheContents)


def main(folder: Path) -> None:
    """Do all of it on the demo."""
    demo = cvbundle.write_demo(folder, "cogvideox-2b", "lora")
    assert_type(demo, cvbundle.Demo)
    try:
        specs(demo.spec)
        runs(bundles(demo.spec, folder / "bundles"))
    except ProblemsFound as error:
        assert_type(error.problems, tuple[cvbundle.Problem, ...])
    except UserError as error:
        raise SystemExit(f"{error} ({cvbundle.__version__})") from None
    except CvbundleError:
        raise
