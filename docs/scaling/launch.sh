#!/usr/bin/env bash
# Starts one worker of a run; the arguments go to train.py.
#
#   HOSTS    names of all machines, the chief's first, separated by spaces
#   RANK     place of this machine among them, from 0
#            (else what Slurm or an indexed Kubernetes Job says)
#   PORT     on which the workers talk; 2222
#   BACKEND  tensorflow (the default) or jax
set -euo pipefail

rank=${RANK:-${SLURM_PROCID:-${JOB_COMPLETION_INDEX:?there is no RANK}}}
addresses=()
for host in ${HOSTS:?there are no HOSTS}; do
  addresses+=("$host:${PORT:-2222}")
done

case ${BACKEND:-tensorflow} in
  tensorflow)
    workers=$(printf '"%s", ' "${addresses[@]}")
    task="{\"type\": \"worker\", \"index\": $rank}"
    export TF_CONFIG="{\"cluster\": {\"worker\": [${workers%, }]}, \"task\": $task}"
    distribution=multiworker
    ;;
  jax)
    KERAS_DISTRIBUTION_JOB_ADDRESSES=$(IFS=, && echo "${addresses[*]}")
    export KERAS_DISTRIBUTION_JOB_ADDRESSES
    export KERAS_DISTRIBUTION_NUM_PROCESSES=${#addresses[@]}
    export KERAS_DISTRIBUTION_PROCESS_ID=$rank
    distribution=jax
    ;;
  *)
    echo "BACKEND must be tensorflow or jax. Received: $BACKEND" >&2
    exit 2
    ;;
esac

# exec: the signal of a preemption must reach Python, not this shell.
exec python train.py "$@" --config.distribution="$distribution"
