"""Compile CogVideoX fine-tuning settings into immutable, reproducible bundles.

Whatever the command line can do, this module can: see docs/library.md. Each name is imported when
it is first used, so that checking a spec doesn't wait for what compiling or running needs.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cvbundle.archive.pack import Archived, archive_bundle
    from cvbundle.archive.unpack import Unpacked, unpack_archive
    from cvbundle.authoring.demo import Demo, write_demo
    from cvbundle.authoring.explain import UnknownTopic, find_topics, topic_data, topic_text
    from cvbundle.authoring.schema import json_schema
    from cvbundle.authoring.starters import Starter, all_starters, find_starter, starter_text
    from cvbundle.authoring.upstream.convert import Converted, convert_file
    from cvbundle.bundle.bundle import Bundle
    from cvbundle.bundle.result import Result, result_of
    from cvbundle.bundle.run import Run
    from cvbundle.bundle.store import find_bundle, list_bundles
    from cvbundle.bundle.verify import differences
    from cvbundle.comparison.description import Description, describe
    from cvbundle.comparison.diff import Comparison, compare_bundles
    from cvbundle.comparison.listing import Listed, list_store
    from cvbundle.compiler.build import Compilation, Compiled, compile_file
    from cvbundle.compiler.check import Checked, check_file
    from cvbundle.compiler.fix import Fix, plan_fix
    from cvbundle.compiler.scanning import Scanning
    from cvbundle.dataset.progress import Progress, ProgressBar
    from cvbundle.execution.cache_contents import CacheContents, cache_contents, prune_cache
    from cvbundle.execution.launch import (
        Launch,
        Outcome,
        RunOptions,
        execute,
        plan_launch,
        result_files,
        run_bundle,
    )
    from cvbundle.execution.rehearsal import Rehearsal, rehearse_bundle
    from cvbundle.execution.reproduce import Reproduction, reproduce
    from cvbundle.execution.sample import SampleRequest, make_sample
    from cvbundle.execution.verification import Verification, verify_bundle
    from cvbundle.files.cache_folder import cache_folder
    from cvbundle.problems import (
        CvbundleError,
        Place,
        Problem,
        ProblemsFound,
        Severity,
        UserError,
        render_github,
        render_json,
        render_text,
    )
    from cvbundle.spec.schema import Spec
    from cvbundle.spec.tables.gpus import GPUS, Gpu

__all__ = [
    "GPUS",
    "Archived",
    "Bundle",
    "CacheContents",
    "Checked",
    "Comparison",
    "Compilation",
    "Compiled",
    "Converted",
    "CvbundleError",
    "Demo",
    "Description",
    "Fix",
    "Gpu",
    "Launch",
    "Listed",
    "Outcome",
    "Place",
    "Problem",
    "ProblemsFound",
    "Progress",
    "ProgressBar",
    "Rehearsal",
    "Reproduction",
    "Result",
    "Run",
    "RunOptions",
    "SampleRequest",
    "Scanning",
    "Severity",
    "Spec",
    "Starter",
    "UnknownTopic",
    "Unpacked",
    "UserError",
    "Verification",
    "__version__",
    "all_starters",
    "archive_bundle",
    "cache_contents",
    "cache_folder",
    "check_file",
    "compare_bundles",
    "compile_file",
    "convert_file",
    "describe",
    "differences",
    "execute",
    "find_bundle",
    "find_starter",
    "find_topics",
    "json_schema",
    "list_bundles",
    "list_store",
    "make_sample",
    "plan_fix",
    "plan_launch",
    "prune_cache",
    "rehearse_bundle",
    "render_github",
    "render_json",
    "render_text",
    "reproduce",
    "result_files",
    "result_of",
    "run_bundle",
    "starter_text",
    "topic_data",
    "topic_text",
    "unpack_archive",
    "verify_bundle",
    "write_demo",
]

_MODULES = {
    "cvbundle.archive.pack": "Archived archive_bundle",
    "cvbundle.archive.unpack": "Unpacked unpack_archive",
    "cvbundle.authoring.demo": "Demo write_demo",
    "cvbundle.authoring.explain": "UnknownTopic find_topics topic_data topic_text",
    "cvbundle.authoring.schema": "json_schema",
    "cvbundle.authoring.starters": "Starter all_starters find_starter starter_text",
    "cvbundle.authoring.upstream.convert": "Converted convert_file",
    "cvbundle.bundle.bundle": "Bundle",
    "cvbundle.bundle.result": "Result result_of",
    "cvbundle.bundle.run": "Run",
    "cvbundle.bundle.store": "find_bundle list_bundles",
    "cvbundle.bundle.verify": "differences",
    "cvbundle.comparison.description": "Description describe",
    "cvbundle.comparison.diff": "Comparison compare_bundles",
    "cvbundle.comparison.listing": "Listed list_store",
    "cvbundle.compiler.build": "Compilation Compiled compile_file",
    "cvbundle.compiler.check": "Checked check_file",
    "cvbundle.compiler.fix": "Fix plan_fix",
    "cvbundle.compiler.scanning": "Scanning",
    "cvbundle.dataset.progress": "Progress ProgressBar",
    "cvbundle.execution.cache_contents": "CacheContents cache_contents prune_cache",
    "cvbundle.execution.launch": "Launch Outcome RunOptions "
    "execute plan_launch result_files run_bundle",
    "cvbundle.execution.rehearsal": "Rehearsal rehearse_bundle",
    "cvbundle.execution.reproduce": "Reproduction reproduce",
    "cvbundle.execution.sample": "SampleRequest make_sample",
    "cvbundle.execution.verification": "Verification verify_bundle",
    "cvbundle.files.cache_folder": "cache_folder",
    "cvbundle.problems": "CvbundleError Place Problem ProblemsFound "
    "Severity UserError render_github render_json render_text",
    "cvbundle.spec.schema": "Spec",
    "cvbundle.spec.tables.gpus": "GPUS Gpu",
}
"""Where each name is; the imports above say the same to type checkers, and a test compares them."""

if not TYPE_CHECKING:
    # Unseen by type checkers, which would take any name for one that is there.

    def __getattr__(name: str) -> object:
        import importlib

        for module, names in _MODULES.items():
            if name in names.split():
                value = globals()[name] = getattr(importlib.import_module(module), name)
                return value
        raise AttributeError(f"module cvbundle has no attribute {name}")


def __dir__() -> list[str]:
    return sorted(__all__)
