#!/bin/bash
# Trains one run on several nodes, with one process for each GPU:
#
#     sbatch --nodes=2 experiments/cluster/slurm.sh \
#         --config=experiments/camvid/lite0_from_scratch.py --config.data.root=/shared/camvid \
#         --config.batch_size=16 --workdir=/shared/runs/camvid
#
# All that follows the name of this file goes to `jaxseg train`. The work directory and the data must
# be on a file system that all nodes share. The processes find each other by themselves.
#
# Two minutes before the time limit, and when the job is preempted, Slurm sends SIGTERM: all
# processes save and stop after the same step, and the job is queued again. The same command then
# continues the run. A job that is killed at once continues from its last checkpoint. To end it for
# good: scontrol update JobId=ID Requeue=0, then scancel ID.
#
#SBATCH --job-name=jaxseg
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

# Each task must see all GPUs of its node, of which JAX takes that with the number of the task: no
# --gpus-per-task, no --gpu-bind.

trap : TERM # or this script would end before the processes have saved

srun --kill-on-bad-exit=1 jaxseg train "$@"
status=$?

# A run that was stopped and saved, or stopped before its first step.
if [ "$status" -eq 130 ] || [ "$status" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
