set shell := ["bash", "-euo", "pipefail", "-c"]

python := ".venv/bin/python"
stamp := ".venv/.installed"

# What there is to do
default:
    @just --list

# Make .venv with the exact versions of constraints.txt; does nothing where it is up to date
setup:
    #!/usr/bin/env bash
    set -euo pipefail
    wanted="$(cat constraints.txt pyproject.toml | sha256sum)"
    [[ -f {{ stamp }} && "$(< {{ stamp }})" == "$wanted" ]] && exit 0
    [[ -x {{ python }} ]] || python3 -m venv .venv
    # torch first and alone: asked for by another package, pip would take a CUDA build of gigabytes.
    {{ python }} -m pip install --quiet "$(grep '^torch==' constraints.txt)"
    {{ python }} -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
    printf '%s\n' "$wanted" > {{ stamp }}

# Demo spec to bundle to trained adapter and sample video
demo: setup
    .venv/bin/cvbundle demo demo
    .venv/bin/cvbundle run "$(.venv/bin/cvbundle compile demo/spec.yaml | tail -n 1)"

# All tests but the slow ones
test *arguments: setup
    {{ python }} -m pytest --numprocesses 2 -m "not slow" {{ arguments }}

# The tests that take minutes
test-slow *arguments: setup
    {{ python }} -m pytest --numprocesses 2 -m slow {{ arguments }}

# The fast tests with the lowest versions that pyproject.toml allows; torch's is that of constraints.txt
lowest *arguments: setup
    #!/usr/bin/env bash
    set -euo pipefail
    lowest=.venv-lowest/bin/python
    wanted="$(sha256sum < pyproject.toml)"
    if [[ ! -f .venv-lowest/.installed || "$(< .venv-lowest/.installed)" != "$wanted" ]]; then
        .venv/bin/uv venv --quiet --clear --seed --python {{ python }} .venv-lowest
        .venv/bin/uv pip install --quiet --python "$lowest" --resolution lowest-direct \
            --constraint <(grep '^torch==' constraints.txt) --editable '.[dev]'
        printf '%s\n' "$wanted" > .venv-lowest/.installed
    fi
    "$lowest" -m pytest --numprocesses 2 -m "not slow" {{ arguments }}

# The core, without the trainer's packages, on every Python from 3.11 on that this machine has
pythons:
    #!/usr/bin/env bash
    set -euo pipefail
    {{ just_executable() }} setup
    for version in 3.11 3.12 3.13 3.14; do
        if ! found="$(.venv/bin/uv python find --no-python-downloads "$version" 2>/dev/null)"; then
            echo "Python $version: not on this machine"
            continue
        fi
        folder=".venv-core/$version"
        .venv/bin/uv venv --quiet --clear --python "$found" "$folder"
        .venv/bin/uv pip install --quiet --python "$folder/bin/python" --constraint constraints.txt \
            attrs av backports.zstd cattrs click jinja2 numpy packaging pillow psutil pyyaml rich \
            sentencepiece tqdm uv pyarrow jsonschema hypothesis pytest
        "$folder/bin/python" -m pytest -p no:xdist -m "not slow" tests/spec tests/rules \
            tests/files tests/authoring tests/test_problems.py --ignore tests/rules/test_unused.py
        "$folder/bin/python" -V
    done

# All that only an NVIDIA GPU can show: writes benchmarks/results/DEVICE.md
[no-exit-message]
gpu *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    if [[ " {{ arguments }} " != *" --device cpu "* ]] && ! nvidia-smi --list-gpus >/dev/null 2>&1; then
        echo "no NVIDIA GPU on this machine (nvidia-smi lists none): just gpu has nothing to try" >&2
        exit 1
    fi
    {{ just_executable() }} setup
    {{ python }} -m benchmarks.gpu {{ arguments }}

# Style
lint: setup
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .

# Strict types
types: setup
    .venv/bin/mypy

# Which small changes of a module its own tests do not notice: just mutate cvbundle/files/digest.py
mutate *modules: setup
    OMP_NUM_THREADS=1 {{ python }} -m tests.mutation {{ modules }}

# Benchmarks by name, or all; each compares two things in one run
bench *names: setup
    #!/usr/bin/env bash
    set -euo pipefail
    names=({{ names }})
    if [[ ${#names[@]} -eq 0 ]]; then
        for file in benchmarks/[a-z]*.py; do names+=("$(basename "$file" .py)"); done
    fi
    for name in "${names[@]}"; do
        echo "== $name"
        {{ python }} -m "benchmarks.$name"
    done

# Fuzz a kind of file for some seconds: archives, bundles, clips, images, models, scripts, specs, tables
fuzz target seconds: setup
    {{ python }} -m tests.fuzz {{ target }} {{ seconds }}
