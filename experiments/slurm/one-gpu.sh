#!/bin/bash
# Train one experiment on one GPU, or resume it where an earlier job stopped:
#   sbatch experiments/slurm/one-gpu.sh lm-hopkins --backend torch --data wikitext-2
# OUT=FOLDER names the run; two minutes before its time is up, the job saves and stops.
#SBATCH --job-name=isograd
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log
set -euo pipefail

experiment="${1:?name an experiment of the catalogue: isograd list experiments}"
shift
out="${OUT:-runs/$experiment}"

if [[ -f "$out/config.json" ]]; then
  srun isograd train --resume "$out"
else
  srun isograd train "$experiment" --device cuda --out "$out" "$@"
fi
isograd report "$out" --out "$out-report"
