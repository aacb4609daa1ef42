#!/usr/bin/env bash
# Train this bundle, on any machine that has the packages of requirements.txt.
#
#   ./launch.sh             continue the newest run, or begin the first
#   ./launch.sh --fresh     begin a new run
#   ./launch.sh --resume    continue the newest run; an error if there is none
#
# The environment overrides the paths in local/paths.json:
#   CVBUNDLE_DATA_ROOT      folder of the clips
#   CVBUNDLE_MODEL_PATH     folder of the base model
#   CVBUNDLE_OUTPUT_DIR     folder of the runs (default: runs/ in this folder)
#   CVBUNDLE_CACHE          folder of the encodings (default: ~/.cache/cvbundle)
#   CVBUNDLE_DEVICE         cuda, cpu or another type that torch has (default: cuda if there is an NVIDIA GPU)
#   CVBUNDLE_NUM_PROCESSES  processes on all machines together (default: {{ launch.num_processes }})
#   PYTHON                  the interpreter (default: python)
#
# On several machines, start it on each, with
#   CVBUNDLE_NUM_MACHINES   how many there are (default: as in local/paths.json)
#   MACHINE_RANK            which one this is: 0 for the first, then 1, 2, ...
#   MAIN_PROCESS_IP         address or name of the first one
#   MAIN_PROCESS_PORT       port of the first one (default: 29500)
#   CVBUNDLE_JOB_ID         distinguishes two runs of this bundle (default: SLURM_JOB_ID)
#   CVBUNDLE_WAIT_S         seconds to wait for the others (default: 600)
# They can start in any order, and compare their bundles, packages and devices before they train.
# The run's folder must be on a disk that they share.
#
# Exit codes, on every machine: 0 trained; 3 failed; 130 stopped by a signal, with the state saved.
set -euo pipefail
trap 'exit 130' INT TERM

own="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# `cvbundle run` starts a verified copy of this script and of code/, which are not in the bundle.
here="${CVBUNDLE_BUNDLE:-$own}"
unset CVBUNDLE_BUNDLE
python="${PYTHON:-python}"

# `cvbundle run` has verified it already.
if [[ -z "${CVBUNDLE_VERIFIED:-}" ]]; then
  if ! (cd "$here" && sha256sum --check --quiet --strict SHA256SUMS) >&2; then
    echo "error: this bundle is not what was compiled: unpack or compile it again" >&2
    exit 3
  fi
fi

if [[ -z "${CVBUNDLE_DEVICE:-}" ]]; then
  if [[ -e /dev/nvidia0 ]] || { command -v nvidia-smi && nvidia-smi --list-gpus; } >/dev/null 2>&1
  then
    CVBUNDLE_DEVICE=cuda
  else
    CVBUNDLE_DEVICE=cpu
    echo "no GPU found: training on the CPU (set CVBUNDLE_DEVICE to choose)" >&2
  fi
fi
export CVBUNDLE_DEVICE
export CVBUNDLE_NUM_PROCESSES="${CVBUNDLE_NUM_PROCESSES:-{{ launch.num_processes }}}"

# The trainer is the one in this bundle, and importing it writes nothing into the bundle.
export PYTHONPATH="$own/code${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONSAFEPATH=1
export PYTHONDONTWRITEBYTECODE=1
# The same weights each time: no random hashes, and cuBLAS with a fixed workspace.
export PYTHONHASHSEED=0
export CUBLAS_WORKSPACE_CONFIG="${CUBLAS_WORKSPACE_CONFIG:-:4096:8}"
# Expandable segments fragment less.
# Page-locked memory stays rounded up to powers of two: torch 2.6 refuses the option against it
# (pytorch/pytorch#171662), and 2.13 can hand out blocks that are too small with it (#192722).
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"
export TOKENIZERS_PARALLELISM=false
# No telemetry.
export HF_HUB_DISABLE_TELEMETRY=1
{% if model.revision is none %}
# The base model is a folder: no hub is needed.
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"
{% endif %}

if [[ "$CVBUNDLE_DEVICE" == cpu ]]; then
  export ACCELERATE_USE_CPU=true
fi

if [[ "$CVBUNDLE_NUM_PROCESSES" == 1 && "${CVBUNDLE_NUM_MACHINES:-1}" == 1 ]]; then
  # One process needs no launcher.
  exec "$python" -m cvbundle.training --bundle "$here" "$@"
fi

exec "$python" -m cvbundle.training.launcher --bundle "$here" "$@"
