#!/usr/bin/env bash
# What a GPU is wanted for, in the order of its worth: tests, step and inference against the bare network, the seed's own setting.
#
#     bash benchmarks/gpu.sh DATA OUT
#
# DATA holds the folder synth_lines, split by its authors (images/{train,test}, masks/{train,test}). OUT gets a log a part.
# Parts that fail do not keep the others from running. Nobody has yet timed them; the ablation takes what time there is,
# and goes on where it was when it is run again.
set -u
data=$(realpath "$1") out=$(realpath -m "$2") here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

part() { # NAME COMMAND...: run it, tell how long it took, keep what it said
  local name=$1 start=$SECONDS
  shift
  "$@" >"$out/$name.log" 2>&1
  echo "$name: exit $?, $((SECONDS - start)) s; the end of $out/$name.log:"
  tail -n 25 "$out/$name.log"
}

cd "$here"
part tests python -m pytest -q -p no:cacheprovider -m gpu
part step python benchmarks/training.py
part infer python benchmarks/inference.py --devices cuda --tile 256
part infer_large python benchmarks/inference.py --devices cuda --tile 256 --sizes 4096 16384 --contenders \
  patchseg-gaussian patchseg-flat patchseg-exact monai-gaussian
part models python benchmarks/models.py "$data" "$out/models" --device cuda --steps 0 --seconds 3
part infer_memory python benchmarks/inference.py --devices cuda --tile 256 --memory --sizes 1024 4096 16384 --contenders \
  patchseg-gaussian patchseg-exact monai-gaussian

seed_setting() { # 96-pixel patches, batches of 16, 100 epochs, 64 wide, 5 levels
  mkdir -p "$out/seed" && cd "$out/seed" || return 1
  python -m patchseg prepare "$data/synth_lines/images/train" "$data/synth_lines/masks/train" --validation 0.1 --overwrite &&
    python -m patchseg train -e 100 -b 16 --width 64 --levels 5 --resume --time 8m &&
    python -m patchseg infer "$data/synth_lines/images/test" -m checkpoints/patches/best.pt --overwrite &&
    python -m patchseg evaluate masks "$data/synth_lines/masks/test"
}
part seed seed_setting
cd "$here"
part ablation python benchmarks/ablation.py "$data" "$out/ablation" --sets synth_lines --steps 20000 --jobs 1
