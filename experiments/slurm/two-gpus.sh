#!/bin/bash
# Train one experiment with both backends at once, a GPU each, and report on the two:
#   sbatch experiments/slurm/two-gpus.sh lm-hopkins --data wikitext-2
# OUT=FOLDER names the folder of both runs.
#SBATCH --job-name=isograd
#SBATCH --nodes=1
#SBATCH --ntasks=2
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log
set -euo pipefail

experiment="${1:?name an experiment of the catalogue: isograd list experiments}"
shift
out="${OUT:-runs/$experiment}"
processes=()

for backend in torch jax; do
  if [[ -f "$out/$backend/config.json" ]]; then
    command=(isograd train --resume "$out/$backend")
  else
    command=(isograd train "$experiment" --backend "$backend" --device cuda --out "$out/$backend" "$@")
  fi
  srun --exact --ntasks=1 --gpus=1 "${command[@]}" &
  processes+=($!)
done
for process in "${processes[@]}"; do
  wait "$process"
done
isograd report "$out/torch" "$out/jax" --out "$out/report"
