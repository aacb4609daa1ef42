"""What `import cvbundle` offers, and what it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cvbundle
from cvbundle.compiler.build import Compiled

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft", "av"}
PACKAGE = Path(cvbundle.__file__).parent
ORDER = [
    "problems",
    "processes",
    "files",
    "spec",
    "model",
    "dataset",
    "rules",
    "bundle",
    "compiler",
    "archive",
    "execution",
    "comparison",
    "authoring",
    "cli",
]
"""The floors, lowest first: a package uses those before it."""
TRAINER_USES = {"problems", "processes", "files", "spec", "model", "dataset", "bundle", "training"}


def test_every_name_it_offers_is_there() -> None:
    for name in cvbundle.__all__:
        assert getattr(cvbundle, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cvbundle.nonsense  # type: ignore[attr-defined, unused-ignore]


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import cvbundle, sys; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_the_trainer_imports_torch_and_nothing_imports_the_trainer() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "training"):
            continue
        imported = _imports(path)
        assert not {name for name in imported if name.split(".")[0] in HEAVY - {"av"}}, path
        assert not {name for name in imported if name.startswith("cvbundle.training")}, path


def test_imports_point_one_way() -> None:
    for layer, name in enumerate(ORDER):
        folder = PACKAGE / name
        for path in folder.rglob("*.py") if folder.is_dir() else [PACKAGE / f"{name}.py"]:
            assert not _packages(path) & set(ORDER[layer + 1 :]), path


def test_the_trainer_uses_the_lower_floors_alone() -> None:
    for path in (PACKAGE / "training").rglob("*.py"):
        assert _packages(path) <= TRAINER_USES, path


def test_a_bundle_s_json_is_parsed_in_one_place() -> None:
    for name in ("bundle", "archive", "execution", "comparison", "cli"):
        for path in (PACKAGE / name).rglob("*.py"):
            assert not _parses_json(path), path
    assert _parses_json(PACKAGE / "files/json_objects.py")


def _parses_json(path: Path) -> bool:
    """Whether a file calls `json.loads` or `json.load`."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("load", "loads")
        and isinstance(node.value, ast.Name)
        and node.value.id == "json"
        for node in ast.walk(ast.parse(path.read_bytes()))
    )


def test_the_top_level_has_problems_and_packages_and_nothing_else() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules == {"__init__", "problems"}
    folders = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert folders == {*ORDER, "training"} - {"problems"}


def _packages(path: Path) -> set[str]:
    """The packages of cvbundle that a file imports."""
    imported = [name.split(".") for name in _imports(path)]
    return {name[1] for name in imported if name[0] == "cvbundle" and len(name) > 1}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_specs_and_bundles_are_read_where_the_trainers_packages_cannot_be_imported(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    """tests/test_wheel.py has them in an environment of their own; this is cheaper."""
    bundle, archive = str(compiled.bundle), str(tmp_path / "bundle.tar.zst")
    commands = [
        ["check", str(own_demo / "spec.yaml")],
        ["show", bundle],
        ["list", str(Path(bundle).parent)],
        ["diff", bundle, bundle],
        ["verify", bundle],
        ["archive", bundle, "-o", archive],
        ["unpack", archive, "--out", str(tmp_path / "other")],
    ]
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"No module named {{name}}", name=name)
sys.meta_path.insert(0, Missing())
from cvbundle.cli import main
for command in {commands}:
    try:
        main(command)
    except SystemExit as end:
        assert not end.code, command
try:
    main(["check", "--data", {str(own_demo / "spec.yaml")!r}])
except SystemExit as end:
    assert end.code == 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("error: av is not installed: pip install av\n")
