"""``mubench sweep``: a grid of runs as a list of commands, and whoever works through it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mubench_hf.commands._arguments import CommandParser, add_metrics, bring_metrics
from mubench_hf.commands._data import be_quiet, pairs
from mubench_hf.commands._flags import add_mini
from mubench_hf.commands._paths import check_folder
from mubench_hf.commands._sweep_text import plan_text, state_text
from mubench_hf.commands._tasks import named_tasks
from mubench_hf.data.manifest import learn_tasks
from mubench_hf.errors import BadInput, shown
from mubench_hf.metrics import METRICS
from mubench_hf.models import MODELS
from mubench_hf.runs.sweeps.estimate import checkpoint_bytes
from mubench_hf.runs.sweeps.launchers import LAUNCHERS
from mubench_hf.runs.sweeps.ledger import Ledger
from mubench_hf.runs.sweeps.manifest import STAGES, Manifest, load_manifest, manifest_file, share
from mubench_hf.runs.sweeps.watch import watch
from mubench_hf.tasks import TASKS
from mubench_hf.trainers import METHODS

DESCRIPTION = """Write a grid of runs as a list of commands, and work through it.
`mubench sweep status OUT` says how far it is; `mubench sweep work OUT` is one more worker, on any machine."""


def main(argv: Sequence[str]) -> None:
    """Write a sweep's manifest and run it, or show how far one is, or work on it.

    Raises:
        BadInput: If an argument is not allowed, or the folder holds another sweep.
        SystemExit: With code 1, if cells failed; the others are done.
    """
    if argv and argv[0] in ("status", "work"):
        (_status if argv[0] == "status" else _work)(argv[1:])
        return
    parser = _parser()
    arguments = parser.parse_args(list(argv))
    check_folder("--out", arguments.out)
    shard, jobs = _shard(arguments.shard), _jobs(arguments.jobs)
    engine = pairs("engine", arguments.engine)
    seconds = _seconds(arguments.seconds)
    if engine and arguments.launcher not in ("slurm", "jobs"):
        raise BadInput(f"--engine goes with --launcher slurm or jobs, not {arguments.launcher}. Leave it out.")
    if shard and arguments.launcher not in (None, "none"):
        raise BadInput("--shard is worked on by this process, so --launcher starts nobody. Leave one of them out.")
    out = Path(arguments.out)
    manifest, disk = _manifest(arguments)
    manifest.check(out)
    workers = None
    if not shard and arguments.launcher in (None, "local", "slurm"):
        workers = _workers(arguments.launcher, out, jobs, engine)
        jobs = workers.jobs
    text = plan_text(manifest, disk, jobs or 1, seconds, ledger=Ledger(out, manifest))
    if arguments.dry_run:
        print(text)
        return
    if arguments.launcher == "jobs":  # Each job writes the same manifest into the bucket.
        from mubench_hf.runs.sweeps.launchers import submit_jobs

        started = submit_jobs(_job_words(arguments), jobs or 1, engine)
        print(text, *started, sep="\n")
        return
    manifest.save(out)
    print(text, flush=True)
    if arguments.launcher == "none" and not shard:
        print(f"Manifest: {manifest_file(out)}\nWork on it with: mubench sweep work {out} [--shard 1/4]")
        return
    _run(out, manifest, workers, shard)


def _parser() -> CommandParser:
    parser = CommandParser("sweep", DESCRIPTION)
    parser.add_argument("tasks", nargs="+", help="Key of a task, or several, each into OUT/<task>; all: every task.")
    add_mini(parser)
    parser.add_argument("--out", default="mubench-sweep", help="Output folder; what is finished is not done again.")
    parser.add_argument("--model", help="A registered model, a Hub id or a folder; default: the task's.")
    parser.add_argument("--methods", nargs="+", help="Methods, or file.py:Trainer; default: the paper's six.")
    parser.add_argument("--del_ratio", nargs="+", help="Percents of train to forget: 5, or 1-10; default: the task's.")
    parser.add_argument("--seeds", nargs="+", type=int, help="Seeds; default: 42 87 21.")
    parser.add_argument(
        "--set", nargs="+", default=[], dest="settings", help="Settings to try, each with each: scrub.msteps=2,3."
    )
    add_metrics(parser)
    parser.add_argument("--raw", help="Folder of upstream files, for full data that are not on the Hub.")
    parser.add_argument("--launcher", choices=LAUNCHERS, help="Who starts workers; none: nobody. Default: local.")
    parser.add_argument("--jobs", help="Workers at a time; default: one for each GPU, or one.")
    parser.add_argument("--engine", nargs="+", default=[], help="Settings of slurm or jobs, as KEY=VALUE.")
    parser.add_argument("--shard", help="Work on a share of the grid in this process: 2/8 is the second of eight.")
    parser.add_argument("--tries", type=int, default=2, help="How often a cell that fails is tried (default: 2).")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="Show what there is to do, and stop.")
    parser.add_argument(
        "--seconds", nargs="+", default=[], help="For the estimate: seconds of a cell of each stage, unlearn=900."
    )
    return parser


def _manifest(arguments: Any) -> tuple[Manifest, int | None]:
    """Return the sweep that the arguments ask for, and the bytes of its checkpoints, if they are known."""
    from mubench_hf.commands._grid import ratios_of

    if arguments.raw and (arguments.variant == "mini" or not Path(arguments.raw).is_dir()):
        raise BadInput(f"--raw is {arguments.raw!r}; it takes a folder of upstream files, and goes with full data.")
    if arguments.tries < 1:
        raise BadInput(f"--tries is {arguments.tries}; a cell is tried once or more.")
    ratios = ratios_of(arguments.del_ratio) if arguments.del_ratio else None
    for method in arguments.methods or ():
        METHODS.check(method)
    bring_metrics(arguments.metrics)
    out = Path(arguments.out)
    for folder in (out, *(out / name for name in arguments.tasks)):
        learn_tasks(folder)
    tasks = named_tasks(arguments.tasks)
    be_quiet()

    from mubench_hf.commands._grid import Choice, grid, settings_of
    from mubench_hf.runs.pipeline import PAPER_METHODS, SEEDS, Pipeline
    from mubench_hf.trainers import get_method

    given = {name: getattr(arguments, name) for name in ("model", "methods", "seeds")}
    given = {name: value for name, value in given.items() if value is not None}
    listed = arguments.tasks if list(arguments.tasks) != ["all"] else [task.name for task in tasks]
    references = {get_method(each).method_key(): portable(each) for each in given.get("methods", PAPER_METHODS)}
    settings = settings_of(arguments.settings, [key for key in references if key != "retrain"])
    choices, metrics = [], [portable(each) for each in arguments.metrics]
    for task, name in zip(tasks, listed, strict=True):
        place = task.name if len(tasks) > 1 else "."
        first = ratios[0] if ratios else None
        pipeline = Pipeline(name, variant=arguments.variant, out=out / place, del_ratio=first, **given)
        choices.append(
            Choice(
                pipeline,
                portable(name),
                references,
                ratios or [pipeline.setup.del_ratio],
                place,
                portable(arguments.model) if arguments.model else None,
                str(Path(arguments.raw).absolute()) if arguments.raw else None,
                metrics,
            )
        )
    asked = {"tasks": [portable(name) for name in listed], "variant": arguments.variant, "model": arguments.model}
    asked |= {"methods": list(references.values()), "del_ratio": choices[0].ratios, "set": settings}
    asked |= {"seeds": given.get("seeds", list(SEEDS))} | ({"metrics": metrics} if metrics else {})
    cells = grid(choices, settings)
    setups = [choice.pipeline.setup for choice in choices]
    sizes = {setup.original(0).table_name: _weights_bytes(setup.model) for setup in setups}
    disk = checkpoint_bytes(cells, sizes)
    return Manifest(asked, cells, arguments.tries), disk


def _run(out: Path, manifest: Manifest, workers: Any, shard: tuple[int, int] | None) -> None:
    """Run a sweep with workers that are started, or in this process, and say how it ended."""
    ledger = Ledger(out, manifest)
    ledger.try_again()
    if workers is None:
        _work_on(out, shard)
    else:
        watch(ledger, workers, lambda line: print(shown(line), file=sys.stderr, flush=True))
    print(state_text(Ledger(out, manifest)))
    if any(state in ("failed", "blocked") for state in ledger.states().values()):
        print("The same command tries again what failed.", file=sys.stderr)
        raise SystemExit(1)


def _status(argv: Sequence[str]) -> None:
    parser = CommandParser("sweep status", "Show how far a sweep is: cells by state, and why some failed.")
    parser.add_argument("out", help="The sweep's folder.")
    parser.add_argument("--cells", action="store_true", help="Also show each cell with its state and its command.")
    arguments = parser.parse_args(list(argv))

    print(state_text(Ledger(arguments.out), cells=arguments.cells))


def _work(argv: Sequence[str]) -> None:
    parser = CommandParser("sweep work", "Work on a sweep until nothing is left that this process could do.")
    parser.add_argument("out", help="The sweep's folder.")
    parser.add_argument("--shard", help="Work on a share of its grid: 2/8 is the second of eight.")
    arguments = parser.parse_args(list(argv))
    _work_on(Path(arguments.out), _shard(arguments.shard))


def _work_on(out: Path, shard: tuple[int, int] | None) -> None:
    """Work on a sweep in this process, from inside its folder."""
    manifest = load_manifest(out)
    cells = share(manifest.cells, *shard) if shard else manifest.cells
    be_quiet()

    from mubench_hf.commands._cells import CellRunner
    from mubench_hf.runs.sweeps.worker import Worker

    with contextlib.chdir(out):
        runner = CellRunner()
        Worker(Ledger(".", manifest), runner, cells, lambda line: print(shown(line), file=sys.stderr, flush=True)).run()


def _workers(launcher: str | None, out: Path, jobs: int | None, engine: Mapping[str, Any]) -> Any:
    from mubench_hf.runs.sweeps.launchers import LocalWorkers, SlurmWorkers

    if launcher == "slurm":
        return SlurmWorkers(out, jobs or 1, engine)
    gpus = visible_gpus()
    return LocalWorkers(out, jobs or len(gpus) or 1, gpus)


def visible_gpus() -> list[str]:
    """Return the GPUs of this machine as ``CUDA_VISIBLE_DEVICES`` names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _weights_bytes(spec: Any) -> int | None:
    """Return the bytes of a model's weights in 32 bits, without making any; ``None`` if that takes its files."""
    import torch

    from mubench_hf.models.foreign import is_foreign
    from mubench_hf.models.loading import random_model

    if is_foreign(spec) or ":" in spec.architecture.auto_class:
        return None
    with torch.device("meta"):
        return 4 * sum(weight.numel() for weight in random_model(spec).parameters())


def portable(reference: str) -> str:
    """Return a reference as it works in any folder: files and folders with their whole path."""
    place, colon, name = reference.partition(":")
    return f"{Path(place).absolute()}{colon}{name}" if _is_path(reference) else reference


def _is_path(reference: str) -> bool:
    """Return whether something is named by a file or folder, and not by a key that is a folder's too."""
    known = any(registry.knows(reference) for registry in (TASKS, METHODS, MODELS, METRICS))
    return not known and (reference.partition(":")[0].endswith(".py") or Path(reference).is_dir())


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise BadInput(f"--shard is {text!r}. Write it like 2/8, for the second of eight shares.")
    return int(found[1]), int(found[2])


def _jobs(text: str | None) -> int | None:
    if text is not None and not re.fullmatch("0*[1-9][0-9]{0,3}", text):
        raise BadInput(f"--jobs is {text[:20]!r}; allowed are whole numbers from 1 to 9999.")
    return None if text is None else int(text)


def _seconds(words: Sequence[str]) -> dict[str, float]:
    found = pairs("seconds", words)
    for stage, value in found.items():
        if stage not in STAGES or isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise BadInput(f"--seconds {stage}={value}: give seconds for one of {', '.join(STAGES)}, as unlearn=900.")
    return {stage: float(value) for stage, value in found.items()}


def _job_words(arguments: Any) -> list[str]:
    """Return the words of the same sweep for a machine that sees no file of this one.

    Raises:
        BadInput: If something is named by a file or folder here.
    """
    words = list(arguments.tasks)
    for flag in ("model", "methods", "del_ratio", "seeds", "settings", "tries", "raw", "metrics"):
        value = getattr(arguments, flag)
        if value is not None and value != []:
            listed = value if isinstance(value, list) else [value]
            words += [f"--{'set' if flag == 'settings' else flag}", *map(str, listed)]
    named = [*arguments.tasks, *(arguments.methods or ()), *arguments.metrics]
    named += [arguments.model] if arguments.model else []
    here = next((word for word in (*named, arguments.raw) if word and (word == arguments.raw or _is_path(word))), None)
    if here:
        raise BadInput(
            f"An HF Job sees no file of this machine, so {here} means nothing there. Give a name, or a Hub id."
        )
    return [*words, *["--mini"] * (arguments.variant == "mini")]
