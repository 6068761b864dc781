#!/usr/bin/env bash
# The embedded network anew, on a GPU without network: trained, its head distilled, old and new compared.
#
#   benchmarks/train_embedded.sh --data DIR                    the four .gz files of Fashion-MNIST lie in DIR
#   benchmarks/train_embedded.sh --data DIR --only frechet     these steps: train head pictures frechet
#   benchmarks/train_embedded.sh --data DIR --device cpu --quick    a rehearsal of a few steps and samples
#
#   --steps 16000        of the network, four times those of the one that ships
#   --head-steps 5000    of its head, 2000 of them led by the head
#   --count 10000        samples of each Frechet distance; --nfe 10,20 evaluations
#   --device cuda        where all of it runs
#   --out runs/embedded  train/ and head/ are resumed, by the same command; network/ is what would ship, frechet.csv
#                        says whether it should
#
# PYTHON chooses the interpreter; it must have torch and what `.[cli]` asks for. benchmarks/gpu.sh --only embedded
# takes those from a wheelhouse, builds the core and runs this.
#
# NOT YET RUN ON A GPU: only the rehearsal has been. How long the whole takes there is not known; training and
# distillation go on where they were stopped, so they fit into any slices. The comparison starts over.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
assets=$root/python/genie_samplers/demo/assets
data= steps=16000 head_steps=5000 count=10000 nfe=10,20 device=cuda out=$root/runs/embedded only=train,head,pictures,frechet
pool=(--chunk-size 32 --trajectories 64) # of the head's training

while (($#)); do
  if [[ $1 == --quick ]]; then
    steps=2 head_steps=2 count=20 nfe=5 pool=(--batch-size 2 --trajectories 2 --nfe 6 --grid karras)
    shift && continue
  fi
  (($# > 1)) || { echo "$1: needs a value; see the head of $0" >&2 && exit 2; }
  case $1 in
    --data) data=$2 ;;
    --steps) steps=$2 ;;
    --head-steps) head_steps=$2 ;;
    --count) count=$2 ;;
    --nfe) nfe=$2 ;;
    --device) device=$2 ;;
    --out) out=$(realpath -m "$2") ;;
    --only) only=$2 ;;
    *) echo "$1: unknown option; see the head of $0" >&2 && exit 2 ;;
  esac
  shift 2
done
for step in ${only//,/ }; do
  [[ " train head pictures frechet " == *" $step "* ]] || { echo "--only $step: choose of train head pictures frechet" >&2 && exit 2; }
done
for name in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
  [[ -e $data/$name-ubyte.gz ]] || { echo "--data '$data': $name-ubyte.gz is not there; give the folder of Fashion-MNIST's files" >&2 && exit 2; }
done
data=$(realpath "$data")

cd "$root"
export PYTHONPATH="$root:$root/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
network=$out/network

step_train() {
  "$python" -m genie_samplers train --run "$out/train" --steps "$steps" --data "$data" --device "$device" --export "$network"
}

step_head() { # as that of the shipped network was made, docs/genie.md; two fifths of the steps are led by the head
  "$python" -m genie_samplers distill --network "$network" --run "$out/head" --steps "$head_steps" \
    --forced-steps $((head_steps * 2 / 5)) --width 64 --values 1,2,3,2,3 "${pool[@]}" \
    --data "$data" --device "$device" --export "$network"
}

step_pictures() { # of the same latents, to look at
  for which in "$assets" "$network"; do
    "$python" -m genie_samplers sample --network "$which" --count 100 --device "$device" \
      --out "$out/samples-$([[ $which == "$assets" ]] && echo old || echo new).png"
  done
}

step_frechet() {
  "$python" -m benchmarks.quality.networks --network "$assets" --network "$network" --nfe "$nfe" --count "$count" \
    --data "$data" --device "$device" --out "$out/frechet.csv"
}

mkdir -p "$out"
for step in train head pictures frechet; do
  [[ ,$only, == *,$step,* ]] || continue
  begin=$SECONDS
  echo "=== $step"
  "step_$step"
  echo "=== $step: $((SECONDS - begin)) s"
done
