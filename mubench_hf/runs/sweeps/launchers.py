"""Who starts a sweep's workers: this machine, Slurm through `submitit`, or HF Jobs through `huggingface_hub`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mubench_hf.errors import BadInput, shown
from mubench_hf.runs.sweeps.manifest import FOLDER

LAUNCHERS = ("local", "slurm", "jobs", "none")

MOUNTED = "/sweep"
"""Where the bucket of a sweep is mounted in an HF Job."""


class Workers(Protocol):
    """Workers that are started, by number.

    Attributes:
        jobs: How many.
    """

    jobs: int

    def start(self, number: int) -> None:
        """Start the worker with this number, or start it again."""

    def ended(self, number: int) -> bool:
        """Return whether it has ended."""

    def stop(self) -> None:
        """End those that would not outlive this process anyway."""


def worker_command(out: Path | str) -> list[str]:
    """Return the command of one worker."""
    return [sys.executable, "-m", "mubench_hf.cli", "sweep", "work", str(out)]


class LocalWorkers:
    """Processes on this machine, each with one of its GPUs if it has any.

    Args:
        out: The sweep's folder.
        jobs: How many.
        gpus: The GPUs as ``CUDA_VISIBLE_DEVICES`` names them, one for each job; none without any.
        command: What each of them runs; default: a worker of the sweep.
        logs: Folder of what they print; default: one in the sweep's.

    Raises:
        BadInput: If there are more jobs than GPUs.
    """

    def __init__(self, out: Path, jobs: int, gpus: Sequence[str] = (), command: Sequence[str] = (),
                 logs: Path | None = None):  # fmt: skip
        if gpus and jobs > len(gpus):
            raise BadInput(
                f"--jobs is {jobs}, but {len(gpus)} GPUs can be seen, and each job has one of its own. Give at most "
                f"{len(gpus)}, or set CUDA_VISIBLE_DEVICES to none of them to use processors."
            )
        self.jobs, self.gpus, self.logs = jobs, gpus, logs or out / FOLDER / "logs"
        self.command = list(command) or worker_command(out)
        self._running: dict[int, subprocess.Popen] = {}

    def start(self, number: int) -> None:
        """Start a process whose output goes to a file of its own."""
        env = dict(os.environ)
        if self.gpus:
            env["CUDA_VISIBLE_DEVICES"] = self.gpus[number]
        self.logs.mkdir(parents=True, exist_ok=True)
        with open(self.logs / f"worker{number}.txt", "ab") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then ends its workers in order.
            self._running[number] = subprocess.Popen(
                self.command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def ended(self, number: int) -> bool:
        """Return whether the process has ended."""
        return self._running[number].poll() is not None

    def stop(self) -> None:
        """Ask all to end, and wait until they have."""
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


class SlurmJob:
    """One task of a job array: a worker. A task that Slurm is about to preempt is queued again."""

    def __init__(self, command: Sequence[str]):
        self.command = list(command)

    def __call__(self) -> int:
        """Run the worker until it ends."""
        return subprocess.run(self.command, check=True).returncode

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Return what is to be queued in place of a task that is preempted."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(SlurmJob(self.command))


class SlurmWorkers:
    """Tasks of `submitit`: of Slurm, or with ``cluster=local`` processes that it starts here.

    Args:
        out: The sweep's folder, on a file system that all machines share.
        jobs: How many tasks the array has.
        settings: ``cluster``, and parameters of ``submitit.AutoExecutor``, such as ``slurm_partition``.

    Raises:
        BadInput: If there is no Slurm here, or a setting is not one of its parameters.
    """

    def __init__(self, out: Path, jobs: int, settings: Mapping[str, Any]):
        import submitit

        rest = dict(settings)
        cluster = rest.pop("cluster", "slurm")
        if cluster not in ("slurm", "local"):
            raise BadInput(f"--engine cluster={cluster}: allowed are slurm and local.")
        try:
            self._executor = submitit.AutoExecutor(folder=out / FOLDER / "logs", cluster=cluster)
            self._executor.update_parameters(
                **{"name": "mubench-sweep", "timeout_min": 24 * 60, "tasks_per_node": 1, **rest}
            )
        except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
            raise BadInput(
                shown(f"Slurm cannot be used like this ({error}). See --engine in docs/sweeps.md.")
            ) from error
        self.out, self.jobs = out, jobs
        self._jobs: dict[int, Any] = {}

    def start(self, number: int) -> None:
        """Submit the array with the first worker, and later a task in place of one that ended."""
        job = SlurmJob(worker_command(self.out.absolute()))
        if number not in self._jobs and number == 0:
            with self._executor.batch():
                jobs = [self._executor.submit(job) for _ in range(self.jobs)]
            self._jobs = dict(enumerate(jobs))
        elif number in self._jobs and self.ended(number):
            self._jobs[number] = self._executor.submit(job)

    def ended(self, number: int) -> bool:
        """Return whether the task has ended."""
        return self._jobs[number].done()

    def stop(self) -> None:
        """Leave tasks that are queued or running to Slurm."""


def submit_jobs(command: Sequence[str], jobs: int, settings: Mapping[str, Any]) -> list[str]:
    """Start HF Jobs, one for each share of a sweep, over one bucket, and return their addresses.

    Args:
        command: The words of `mubench sweep` without ``--out``, ``--launcher`` and ``--shard``.
        jobs: How many.
        settings: ``bucket``, ``image``, ``flavor``, ``timeout`` and ``namespace`` of ``huggingface_hub.run_job``.

    Raises:
        BadInput: If bucket or image are missing, or a setting is unknown.
    """
    from huggingface_hub import Volume, run_job

    rest = dict(settings)
    bucket, image = rest.pop("bucket", None), rest.pop("image", None)
    unknown = sorted(set(rest) - {"flavor", "timeout", "namespace"})
    if not bucket or not image or unknown:
        raise BadInput(
            "HF Jobs need --engine bucket=OWNER/NAME, which all of them write to, and image=IMAGE with this package in "
            f"it; flavor, timeout and namespace are allowed besides. Found: {', '.join(sorted(settings)) or 'nothing'}."
        )
    started = []
    for number in range(1, jobs + 1):
        job = run_job(
            image=str(image),
            command=["mubench", "sweep", *command, "--out", MOUNTED, "--shard", f"{number}/{jobs}"],
            volumes=[Volume(type="bucket", source=str(bucket), mount_path=MOUNTED)],
            **rest,
        )
        started.append(str(getattr(job, "url", None) or job.id))
    return started
