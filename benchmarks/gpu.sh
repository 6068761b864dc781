#!/usr/bin/env bash
# Everything there is to know about one GPU, on a bare machine without network:
#
#   benchmarks/gpu.sh                          the GPU that torch sees, results in benchmarks/results/<its name>/
#   benchmarks/gpu.sh --only build,bits        these steps: machine build backends bits tests ops end_to_end sanitizer
#   benchmarks/gpu.sh --wheelhouse DIR         wheels to unpack for what the machine lacks or has older; none is installed
#   benchmarks/gpu.sh --results DIR --quick    elsewhere; small cases and few tests only
#   benchmarks/gpu.sh --no-build               with the core that lies built in genie_ext/
#   benchmarks/gpu.sh --only embedded --data DIR   the embedded network anew: benchmarks/train_embedded.sh, resumed
#   benchmarks/gpu.sh --cpu                    a rehearsal of the same on the CPU, with Triton's interpreter
#
# PYTHON chooses the interpreter; it must have torch. A wheelhouse for Python 3.12, made where there is a network:
#
#   pip download --no-deps --only-binary :all: --python-version 3.12 -c constraints.txt -d DIR \
#     setuptools pybind11 pytest iniconfig pluggy diffusers importlib_metadata zipp click scipy mpmath
#
# and, for --only embedded, what the command line of training needs: matplotlib contourpy cycler fonttools kiwisolver
# pyparsing python-dateutil six packaging pillow tqdm safetensors huggingface_hub.
#
# Sources are copied to build/gpu and built there for the GPU's architecture; later runs build what changed. A step that
# lacks something is skipped and says what; the status is 1 if one fails.
#
# NOT YET RUN ON A GPU: only --cpu has been.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$root/build/gpu
skipped=77
device=cuda quick= build=1 wheelhouse= results= only= data=
steps=(machine build backends bits tests ops end_to_end sanitizer)
by_name_only=(embedded) # makes a network, tells nothing about the machine

while (($#)); do
  case $1 in
    --cpu) device=cpu ;;
    --quick) quick=--quick ;;
    --no-build) build= ;;
    --wheelhouse) wheelhouse=$2 && shift ;;
    --results) results=$2 && shift ;;
    --only) only=$2 && shift ;;
    --data) data=$(realpath -m "$2") && shift ;;
    *) echo "$1: unknown option; see the head of $0" >&2 && exit 2 ;;
  esac
  shift
done
for step in ${only//,/ }; do
  [[ " ${steps[*]} ${by_name_only[*]} " == *" $step "* ]] || {
    echo "--only $step: choose of ${steps[*]} ${by_name_only[*]}" >&2 && exit 2
  }
  [[ $step != embedded || $data ]] || { echo "--only embedded: needs --data DIR, Fashion-MNIST's files" >&2 && exit 2; }
done
[[ -z $only ]] || steps+=("${by_name_only[@]}")

# --- a copy of the sources, and what the machine lacks

tree=$work/tree site=$work/site
mkdir -p "$tree" "$site" "$work/core"
mv "$tree"/genie_ext/_C*.so "$work/core" 2>/dev/null || true # what an earlier run built
for folder in .ci benchmarks csrc docs genie_ext python scripts tests; do
  rm -rf "${tree:?}/$folder"
  cp -a "$root/$folder" "$tree"
done
find "$root" -maxdepth 1 -type f -exec cp -a {} "$tree" \;
if [[ $build ]]; then
  rm -f "$tree"/genie_ext/_C*.so
  mv "$work"/core/_C*.so "$tree/genie_ext" 2>/dev/null || true
fi
cd "$tree"
export PYTHONPATH="$tree:$tree/python:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

unpack() { # a wheel is a zip; this needs no pip
  "$python" - "$wheelhouse" <<'PYTHON' | while read -r wheel; do "$python" -m zipfile -e "$wheel" "$site"; done
import importlib.metadata, pathlib, re, sys

def number(version):
    return [int(part) for part in re.match(r"[\d.]*\d", version)[0].split(".")]

for wheel in sorted(pathlib.Path(sys.argv[1]).glob("*.whl")):
    name, version = wheel.name.split("-")[:2]
    try:
        newer = number(version) > number(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        newer = True
    if newer:
        print(wheel.resolve())
PYTHON
}
if [[ $wheelhouse ]]; then unpack; fi

torch_says() { "$python" -c "import torch; print($1)"; }
if [[ $device == cuda ]]; then
  if [[ $(torch_says 'torch.cuda.is_available()') != True ]]; then
    echo "torch sees no CUDA GPU; --cpu rehearses without one" >&2
    exit 2
  fi
  name=$(torch_says 'torch.cuda.get_device_name()' | tr '[:upper:] /' '[:lower:]__')
  arch=$(torch_says '"%d%d" % torch.cuda.get_device_capability()')
else
  name=latest.cpu arch=none
  export TRITON_INTERPRET=1
fi
results=$(realpath -m "${results:-$root/benchmarks/results/$name}")
mkdir -p "$results"
log=$results/log.txt table=$results/summary.md
: >"$log"
printf '%s\n' "# $name" '' '| step | result | time | |' '| --- | --- | --- | --- |' >"$table"

# --- the steps

lacks() { # a Python module, or a program
  ! "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)" && ! command -v "$1" >/dev/null
}

need() {
  local missing=()
  for thing in "$@"; do if lacks "$thing"; then missing+=("$thing"); fi; done
  ((${#missing[@]})) || return 0
  echo "missing: ${missing[*]}; a Python package can come from --wheelhouse"
  return $skipped
}

step_machine() {
  "$python" - "$results/machine.json" "$device" "$arch" <<'PYTHON'
import json, pathlib, shutil, subprocess, sys
from benchmarks.machine import describe_machine, describe_versions

def says(*command):
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()

target, device, arch = sys.argv[1:]
import torch
machine = describe_machine(device) | {
    "arch": arch,
    "cuda_of_torch": torch.version.cuda,
    "driver": says("nvidia-smi", "--query-gpu=driver_version,memory.total,clocks.max.sm,clocks.max.mem", "--format=csv"),
    "nvcc": says("nvcc", "--version"),
    "compiler": says("c++", "--version"),
    "versions": describe_versions(),
}
pathlib.Path(target).write_text(json.dumps(machine, indent=1) + "\n")
print(json.dumps(machine, indent=1))
PYTHON
  for thing in pybind11 setuptools cmake ninja c++ nvcc pytest scipy mpmath triton diffusers click compute-sanitizer; do
    if lacks "$thing"; then echo "not here: $thing"; fi
  done
}

step_build() {
  [[ $build ]] || { echo "--no-build" && return $skipped; }
  need setuptools pybind11 cmake ninja c++ # each of these skips the step
  if (($("$python" -c 'import setuptools; print(setuptools.__version__.split(".")[0])') < 77)); then
    echo "setuptools is older than 77; put a newer one into --wheelhouse" && return $skipped
  fi
  if [[ $device == cuda ]]; then
    need nvcc
    export GENIE_EXT_CUDA=on GENIE_EXT_CUDA_ARCHS="$arch-real"
  else
    export GENIE_EXT_CUDA=off
  fi
  "$python" setup.py -q build_ext --inplace
}

required() { # what must take part: the native backend where it was built
  compgen -G 'genie_ext/_C*.so' >/dev/null && echo "--require $device"
  lacks triton || echo "--require triton"
}

step_backends() {
  "$python" - "$device" <<'PYTHON'
import sys, torch, genie_ext
from genie_ext._dispatch import resolve
for op, states in genie_ext.backends().items():
    for backend, state in states.items():
        print(f"{op:12} {backend:10} {state}")
    print(f"{op:12} auto is {resolve(op, torch.device(sys.argv[1]))[0]}")
PYTHON
}

step_bits() {
  # shellcheck disable=SC2046  # words
  "$python" -m benchmarks.bit_equality $quick $(required) --out "$results/bit_equality.json"
}

step_tests() {
  need pytest
  if [[ $quick ]]; then
    "$python" -m pytest -q -p no:cacheprovider tests/ops/test_backends.py -k unknown
  else
    "$python" -m pytest -q -p no:cacheprovider -rs
  fi
}

step_ops() { # the ops alone and whole steps beside diffusers'
  need diffusers
  "$python" -m benchmarks.run $quick --device "$device" --out "$results/ops.json"
}

step_end_to_end() {
  need diffusers
  "$python" -m benchmarks.end_to_end $quick --device "$device" --out "$results/end_to_end.json"
}

step_sanitizer() {
  [[ $device == cuda ]] || { echo "no GPU" && return $skipped; }
  need compute-sanitizer
  compgen -G 'genie_ext/_C*.so' >/dev/null || { echo "the core is not built" && return $skipped; }
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1 # or a write past a tensor would still be inside torch's pool
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" -m benchmarks.bit_equality --quick --only cuda
  done
}

step_embedded() {
  need diffusers safetensors click matplotlib tqdm PIL
  PYTHON=$python benchmarks/train_embedded.sh $quick --data "$data" --device "$device" --out "$results/embedded"
}

# --- running them

failed=0
run_step() {
  local step=$1 begin=$SECONDS code result note=
  [[ -z $only || ",$only," == *",$step,"* ]] || return 0
  echo "=== $step" | tee -a "$log"
  set +e # a subshell in a condition would not stop at its first error
  (
    set -e
    "step_$step"
  ) 2>&1 | tee -a "$log"
  code=${PIPESTATUS[0]}
  set -e
  case $code in
    0) result=PASS ;;
    "$skipped") result=SKIP note=$(tail -n 1 "$log") ;;
    *) result=FAIL failed=1 ;;
  esac
  echo "| $step | $result | $((SECONDS - begin)) s | $note |" >>"$table"
}

for step in "${steps[@]}"; do run_step "$step"; done
cat "$table"
exit "$failed"
