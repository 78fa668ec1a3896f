"""Fresh processes for tests, without the seconds that importing torch takes: forks of a server that has imported it.

A test that asks what a process *imports*, or how an installed program starts, needs a real one: `subprocess`.
"""

import multiprocessing
import os
import socket
import sys
import tempfile
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

IMPORTED = ["datasets", "evaluate", "rouge_score.rouge_scorer", "sklearn.model_selection", "sklearn.svm",
            "transformers.models.vit.modeling_vit", "transformers.trainer",
            "mubench_hf.results.plots", "mubench_hf.runs.pipeline", "mubench_hf.scripts.unlearn"]  # fmt: skip


def run_python(code: str, *arguments: str, env: dict[str, str], cwd: Path, timeout: float = 300) -> CompletedProcess:
    """Run a program, given as text, in a process of its own, as ``python -c`` would.

    The libraries are imported already: what they read from the environment as they are imported is that of the tests.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        output = [Path(folder, "stdout"), Path(folder, "stderr")]
        process = context.Process(target=_main, args=(code, arguments, env, str(cwd), *map(str, output)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"The process did not end within {timeout} s:\n{output[1].read_text()[-4000:]}")
        return CompletedProcess(code, process.exitcode, *(file.read_text() for file in output))


def run_together(
    code: str, *arguments: str, env: dict[str, str], cwd: Path, count: int = 2, timeout: float = 300
) -> list[CompletedProcess]:
    """Run a program in ``count`` processes at once, in the environment that `torchrun` would give them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def share(rank: int) -> CompletedProcess:
        where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # fmt: skip
        known = env | {name: str(value) for name, value in where.items()}
        return run_python(code, *arguments, env=known, cwd=cwd, timeout=timeout)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(share, range(count)))


def _main(code: str, arguments: tuple[str, ...], env: dict[str, str], cwd: str, *output: str) -> None:
    for number, file in enumerate(output, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv, sys.path[:0] = ["-c", *arguments], [""]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(compile(code, "<the test's program>", "exec"), main.__dict__)


def forked(work: Callable[[int], Any], folder: Path, count: int = 2) -> list[Any]:
    """Return what ``work(rank)`` returns in ``count`` forks of this process that gloo joins; an error as its text."""
    context, pipes = multiprocessing.get_context("fork"), []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_joined, args=(work, rank, count, folder, theirs))
        process.start()
        pipes.append((process, ours))
    told = [ours.recv() if ours.poll(120) else "no answer" for _, ours in pipes]
    for process, _ in pipes:
        process.join(10)
        process.kill()
    return told


def _joined(work: Callable[[int], Any], rank: int, count: int, folder: Path, pipe: Any) -> None:
    import torch

    torch.set_num_threads(1)
    where = {"init_method": f"file://{folder}/joined", "rank": rank, "world_size": count}
    torch.distributed.init_process_group("gloo", **where)
    try:
        pipe.send(work(rank))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
