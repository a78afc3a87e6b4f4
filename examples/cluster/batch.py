r"""Workers from a batch system: SLURM or PBS, through dask-jobqueue.

    python batch.py slurm --jobs 8 --cores 16 --hours 4 -- \
        penchant sweep study.toml --set search.population=16,32 --out sweep

Asks for 8 batch jobs of 16 workers each, runs the command with their scheduler's
address, and gives the workers back. Without a command it prints the address for
`--scheduler`, and waits for Ctrl-C. `--dry-run` prints the job script instead.

Runs on a node that the workers can reach, in the environment that they are to have:
the job script names its Python, so that must lie where all nodes see it.
"""

import argparse
import shutil
import subprocess
import sys
import time
from typing import Any

from dask_jobqueue.pbs import PBSCluster
from dask_jobqueue.slurm import SLURMCluster

KINDS = {"slurm": SLURMCluster, "pbs": PBSCluster}


def cluster_of(asked: argparse.Namespace) -> Any:
    """The cluster of a batch system, before any worker; one worker for each core."""
    return KINDS[asked.kind](
        cores=asked.cores,
        processes=asked.cores,
        memory=f"{asked.memory * asked.cores} GiB",
        walltime=f"{asked.hours:02d}:00:00",
        queue=asked.queue,
        account=asked.account,
        interface=asked.interface,
        job_script_prologue=asked.before,
        scheduler_options={"dashboard_address": ":0"},
    )


def options() -> argparse.ArgumentParser:
    """What may be asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--jobs", type=int, default=1, help="Batch jobs.")
    parser.add_argument("--cores", type=int, default=1, help="Workers of each job.")
    parser.add_argument("--memory", type=int, default=4, help="GiB of each worker.")
    parser.add_argument("--hours", type=int, default=1, help="Most time of each job.")
    parser.add_argument("--queue", help="Partition or queue.")
    parser.add_argument("--account", help="Who pays.")
    parser.add_argument("--interface", help="Network, as ib0, that the nodes share.")
    parser.add_argument(
        "--before", action="append", default=[], help="A line before the workers start."
    )
    parser.add_argument("--dry-run", action="store_true", help="Print the job script.")
    return parser


def main() -> int:
    """Start workers, and run a command with them."""
    own, command = sys.argv[1:], list[str]()
    if "--" in own:
        at = own.index("--")
        own, command = own[:at], own[at + 1 :]
    asked = options().parse_args(own)
    if min(asked.jobs, asked.cores, asked.memory, asked.hours) < 1:
        sys.exit("--jobs, --cores, --memory and --hours are 1 or more")
    submit = {"slurm": "sbatch", "pbs": "qsub"}[asked.kind]
    if not asked.dry_run and not shutil.which(submit):
        sys.exit(f"there is no {submit} here: run this where batch jobs are submitted")
    with cluster_of(asked) as cluster:
        if asked.dry_run:
            print(cluster.job_script())
            return 0
        cluster.scale(jobs=asked.jobs)
        address = cluster.scheduler_address
        if command:
            return subprocess.run(
                [*command, "--scheduler", address], check=False
            ).returncode
        print(f"--scheduler {address}", flush=True)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    sys.exit(main())
