#!/usr/bin/env bash
#SBATCH --job-name=train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# One process a machine, which uses all of its GPUs. From the repository's root:
#
#   sbatch docs/scaling/slurm.sh --config=configs/coyo.py --workdir=/shared/runs/coyo
#
# Five minutes before the time limit the workers get SIGTERM, write a state and end
# with exit code 75; the job is then put back into the queue, and goes on.
set -uo pipefail

HOSTS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste -sd ' ' -) || exit 1
PORT=$((20000 + SLURM_JOB_ID % 10000)) # jobs that share a machine do not collide
export HOSTS PORT

# No --kill-on-bad-exit: the other workers notice that one is lost and end by
# themselves. --wait ends those that have not after ten minutes.
srun --kill-on-bad-exit=0 --wait=600 bash docs/scaling/launch.sh "$@"
code=$?

# 75: interrupted, or a worker is lost. 134, 137, 143: ended by a signal (a crash, no
# memory, a machine taken away). Anything else is an error that a restart repeats.
case $code in
  75 | 134 | 137 | 143)
    if ((${SLURM_RESTART_COUNT:-0} < ${MAX_RESTARTS:-100})); then
      echo "Exit code $code: the job goes back into the queue."
      scontrol requeue "$SLURM_JOB_ID"
    fi
    ;;
esac
exit "$code"
