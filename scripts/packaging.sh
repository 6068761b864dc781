#!/usr/bin/env bash
# Every way of installing genie-ext, each tried in a fresh virtual environment and run outside the source tree.
#
#   scripts/packaging.sh                          all cases; status 1 if one fails
#   scripts/packaging.sh wheel torch              these cases
#   scripts/packaging.sh --out docs/packaging.md  and the table as a page; cases that are not run keep their row there
#
# Needs a package index; PYTHON chooses the interpreter. Builds on as many cores as there are. The last case downloads a
# second torch with its CUDA libraries (about 3 GB); everything is in a temporary folder and removed at the end.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
torch=2.13.0       # of constraints.txt
other_torch=2.11.0 # the binary built beside one runs beside the other
skipped=77

declare -A about=(
  [wheel]='`pip wheel .`, built in isolation, installed in a fresh environment'
  [sdist]='`GENIE_EXT_CUDA=off pip install genie_ext-*.tar.gz`, the source archive'
  [editable]='`GENIE_EXT_CUDA=off pip install -e .`: an edit of the sources takes effect'
  [pure]='`GENIE_EXT_BUILD=0 pip install .`, with no compiler'
  [cuda_on]='`GENIE_EXT_CUDA=on GENIE_EXT_CUDA_ARCHS=90-real pip wheel .`'
  [cuda_on_without_nvcc]='`GENIE_EXT_CUDA=on pip wheel .` without nvcc is refused by name'
  [cuda_off]='`GENIE_EXT_CUDA=off pip wheel .`'
  [cuda_auto_without_nvcc]='`pip wheel .` without nvcc'
  [bare]='`GENIE_EXT_BUILD=0 pip install .` without extras: torch and numpy alone'
  [torch]="\`pip install torch==$torch\` under an installed binary that ran beside $other_torch"
)
cases=(wheel sdist editable pure cuda_on cuda_on_without_nvcc cuda_off cuda_auto_without_nvcc bare torch)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/elsewhere" # where things run: no source folder shadows what is installed
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PIP_CONSTRAINT="$work/constraints.txt"
unset PYTHONPATH GENIE_EXT_CUDA GENIE_EXT_BUILD GENIE_EXT_CUDA_ARCHS GENIE_EXT_BACKEND GENIE_EXT_ISA
cp "$root/constraints.txt" "$work"

# --- steps shared by the cases; each prints into the case's log, and evidence into the table

evidence() { echo "$*" >>"$work/evidence"; }

sources() { # a copy without anything built
  mkdir -p "$1"
  cp -r "$root"/{csrc,genie_ext,python} "$1"
  find "$root" -maxdepth 1 -type f -exec cp {} "$1" \;
  find "$1" \( -name '*.so' -o -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
}

environment() { # $work/venv, fresh, with pip install's arguments
  rm -rf "$work/venv"
  "$python" -m venv "$work/venv"
  (cd "$work/elsewhere" && "$work/venv/bin/pip" install "$@")
}

builder() { test -d "$work/builder" || "$python" -m venv "$work/builder"; } # a pip that is not ours

wheel() { # build one from a copy of the sources into $work/wheels
  sources "$work/source"
  builder
  "$work/builder/bin/pip" wheel --no-deps -w "$work/wheels" "$work/source"
}

inside() { (cd "$work/elsewhere" && "$work/venv/bin/python" -W ignore "$@"); }

samples() { # the installed package runs: its normals are those of every release, the embedded network gives an image
  inside - "$1" <<'PYTHON'
import hashlib, pathlib, sys
import torch, genie_ext, genie_samplers
from genie_ext.testing import PINNED_NORMALS
noise = genie_ext.Noise(torch.tensor([5]), torch.tensor([7]), 11)
normals = genie_ext.normal_fill(torch.empty(1, 2**20), noise=noise, draw=3)
assert hashlib.md5(normals.numpy().tobytes()).hexdigest() == PINNED_NORMALS
for package in (genie_ext, genie_samplers):
    home = pathlib.Path(package.__file__).resolve()
    assert home.is_relative_to(pathlib.Path(sys.argv[1]).resolve()), home
PYTHON
  (cd "$work/elsewhere" && rm -f x.png && "$work/venv/bin/genie-samplers" sample --count 4 --nfe 3 --out x.png)
  test -s "$work/elsewhere/x.png"
  evidence "samples on the backend \`$(backend)\` with torch $(inside -c 'import torch; print(torch.__version__)')"
}

backend() { inside -c 'import torch; from genie_ext._dispatch import resolve; print(resolve("fused_step", torch.device("cpu"))[0])'; }

core() { # what the core of the only wheel says of CUDA, loaded without torch and without the package
  rm -rf "$work/core"
  "$python" -m zipfile -e "$work"/wheels/*.whl "$work/core"
  "$python" -I - "$work"/core/genie_ext/_C*.so <<'PYTHON'
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_C", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(f"CUDA {module.cuda_archs()}" if module.built_with_cuda() else "no CUDA")
PYTHON
}

core_is() { # 'CUDA*' or 'no CUDA'
  local said
  said=$(core)
  evidence "the core holds $said, $(du -k "$work"/core/genie_ext/_C*.so | cut -f1) KiB"
  # shellcheck disable=SC2053  # a pattern
  [[ $said == $1 ]]
}

refused() { # the command fails and says so
  local message=$1
  shift
  if "$@" >"$work/said" 2>&1; then
    echo "it should have failed: $*"
    return 1
  fi
  cat "$work/said"
  grep -qF "$message" "$work/said"
  evidence "it says \`$message\`"
}

digests() { inside "$work/elsewhere/native_digest.py" 1; }

# --- the cases

case_wheel() {
  wheel
  if command -v nvcc >/dev/null; then core_is 'CUDA*'; else core_is 'no CUDA'; fi # auto
  environment "$(echo "$work"/wheels/*.whl)[cli]"
  test "$(backend)" = cpu
  samples "$work/venv"
}

case_sdist() {
  sources "$work/source"
  builder
  "$work/builder/bin/pip" install build
  "$work/builder/bin/python" -m build --sdist -o "$work/sdist" "$work/source"
  GENIE_EXT_CUDA=off environment "$(echo "$work"/sdist/*.tar.gz)[cli]"
  test "$(backend)" = cpu
  samples "$work/venv"
}

case_editable() {
  sources "$work/source"
  GENIE_EXT_CUDA=off environment -e "$work/source[cli]"
  test "$(backend)" = cpu
  samples "$work/source"
  sed -i 's/^__version__ = .*/__version__ = "0.0.0.edited"/' "$work/source/genie_ext/__init__.py"
  test "$(inside -c 'import genie_ext; print(genie_ext.__version__)')" = 0.0.0.edited
}

case_pure() {
  sources "$work/source"
  GENIE_EXT_BUILD=0 CXX=/bin/false environment "$work/source[cli]"
  test -z "$(find "$work/venv" -path '*genie_ext*' -name '*.so')"
  test "$(backend)" = reference
  samples "$work/venv"
}

case_cuda_on() {
  command -v nvcc >/dev/null || return $skipped
  GENIE_EXT_CUDA=on GENIE_EXT_CUDA_ARCHS=90-real wheel
  core_is 'CUDA 90-real'
}

case_cuda_on_without_nvcc() {
  export GENIE_EXT_CUDA=on CUDACXX=/nowhere/nvcc
  refused 'GENIE_EXT_CUDA=on, but there is no working nvcc' wheel
}

case_cuda_off() {
  GENIE_EXT_CUDA=off wheel
  core_is 'no CUDA'
}

case_cuda_auto_without_nvcc() {
  CUDACXX=/nowhere/nvcc wheel
  core_is 'no CUDA'
}

case_bare() {
  sources "$work/source"
  GENIE_EXT_BUILD=0 CXX=/bin/false environment "$work/source"
  inside - <<'PYTHON'
import importlib.util
extras = ("click", "tqdm", "PIL", "matplotlib", "diffusers", "safetensors", "scipy", "transformers")
assert not [name for name in extras if importlib.util.find_spec(name)]
import genie_samplers as gs
for name in gs.__all__:
    getattr(gs, name)
plan = gs.make_plan("ddim", gs.schedules.vp_linear(), 2)
assert gs.sample(lambda x, t: 0.1 * x, plan, shape=(2, 3)).isfinite().all()
PYTHON
  refused 'the command line needs click: pip install "genie-ext[cli]"' "$work/venv/bin/genie-samplers" --help
}

case_torch() {
  GENIE_EXT_CUDA=off wheel
  grep -v '^torch==\|^triton==\|^numpy==' "$root/constraints.txt" >"$work/without_torch.txt"
  export PIP_CONSTRAINT="$work/without_torch.txt"
  cp "$root/tests/ops/native_digest.py" "$work/elsewhere"
  environment "$(echo "$work"/wheels/*.whl)" "torch==$other_torch"
  before=$(sha256sum "$work"/venv/lib/python*/site-packages/genie_ext/_C*.so) first=$(digests)
  versions=$(inside -c 'import torch; print(torch.__version__)')
  "$work/venv/bin/pip" install "torch==$torch"
  versions+=" and $(inside -c 'import torch; print(torch.__version__)')"
  test "$before" = "$(sha256sum "$work"/venv/lib/python*/site-packages/genie_ext/_C*.so)"
  echo "$first" && digests
  test "$first" = "$(digests)"
  evidence "one binary, torch $versions: $(grep -o '"[0-9a-f]\{32\}"' <<<"$first" | wc -l) equal digests"
}

# --- running them

run_case() {
  local name=$1 begin=$SECONDS code result
  : >"$work/evidence"
  rm -rf "$work"/{source,venv,wheels}
  set +e # a subshell in a condition would not stop at its first error
  (
    set -e
    "case_$name"
  ) >"$work/$name.log" 2>&1
  code=$?
  set -e
  case $code in
    0) result=PASS ;;
    "$skipped") result=SKIP && echo "nvcc is not here" >"$work/evidence" ;;
    *) result=FAIL && failed=1 && tail -n 30 "$work/$name.log" >&2 ;;
  esac
  printf '| %s | %s | %s | %s | %s | %s s |\n' \
    "${name//_/ }" "${about[$name]}" "$result" "$(paste -sd ';' "$work/evidence" | sed 's/;/; /g')" \
    "$(date -u +%F)" $((SECONDS - begin)) | tee "$work/$name.row"
}

rows() { # in the order of the cases: what was run now, else what the page says already
  for name in "${cases[@]}"; do
    cat "$work/$name.row" 2>/dev/null || grep -s "^| ${name//_/ } |" "$out" || true
  done
}

page() {
  cat <<PAGE
# Packaging

Written by \`scripts/packaging.sh --out docs/packaging.md\`, which tries every way of installing in fresh virtual environments
and runs the result outside the source tree: 2^20 normals against the digest of every release, then images from the embedded
network. What needs no second torch and no index is in \`tests/test_packaging.py\` too, which CI runs.

$("$python" --version), $(c++ --version | head -n 1), $(nvcc --version 2>/dev/null | grep -o 'release [0-9.]*' | sed 's/release/nvcc/' || echo 'no nvcc').

| case | how | result | seen | on | took |
| --- | --- | --- | --- | --- | --- |
$(rows)
PAGE
}

out=
chosen=()
while (($#)); do
  case $1 in
    --out) out=$2 && shift ;;
    -*) echo "$1: unknown option; see the head of $0" >&2 && exit 2 ;;
    *)
      [[ -v "about[$1]" ]] || { echo "$1: no such case; choose of ${cases[*]}" >&2 && exit 2; }
      chosen+=("$1")
      ;;
  esac
  shift
done
failed=0
for name in "${chosen[@]:-${cases[@]}}"; do
  run_case "$name"
  if [[ $out ]]; then page >"$work/page" && cp "$work/page" "$out"; fi
done
exit "$failed"
