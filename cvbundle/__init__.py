"""Compile CogVideoX fine-tuning settings into immutable, reproducible bundles.

Whatever the command line can do, this module can: each name is imported when it is first used, so
that checking a spec doesn't wait for what compiling or running needs.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "check_file": "cvbundle.compiler.check",
    "compile_file": "cvbundle.compiler.build",
    "execute": "cvbundle.execution.launch",
    "find_bundle": "cvbundle.bundle.store",
    "list_bundles": "cvbundle.bundle.store",
    "plan_launch": "cvbundle.execution.launch",
    "differences": "cvbundle.bundle.verify",
    "render_text": "cvbundle.problems",
    "ProblemsFound": "cvbundle.problems",
    "UserError": "cvbundle.problems",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module cvbundle has no attribute {name}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
