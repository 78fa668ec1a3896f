"""``mubench shadow``: many models of a task that saw D_f or did not, for the metrics that read them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.commands._arguments import CommandParser, add_use_cpu
from mubench_hf.commands._flags import add_mini
from mubench_hf.commands._paths import check_folder
from mubench_hf.data.manifest import learn_tasks
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput, shown
from mubench_hf.tasks import get_task
from mubench_hf.trainers import METHODS
from mubench_hf.utils.processes import launched_processes

if TYPE_CHECKING:
    from mubench_hf.runs.shadows.making import Shadows
    from mubench_hf.runs.sweeps.manifest import Cell, Manifest
    from mubench_hf.runs.train import LoadRows

DESCRIPTION = """Make many models of a task and keep what each says of each row, for the metrics rmia, lira_offline,
ulira and klom. Runs of all methods share them; what is finished is not done again."""

MOST_MODELS = 10_000


def main(argv: Sequence[str], *, rows: LoadRows | None = None) -> None:
    """Make the models of populations, and put them into their files.

    Args:
        argv: Arguments of the command.
        rows: Where the task's rows come from; default: ``load_rows``.

    Raises:
        BadInput: If an argument is not allowed, or the folder holds another population under the same name.
        SystemExit: With code 1, if a model could not be made; the others are kept.
    """
    arguments = _parser().parse_args(list(argv))
    check_folder("--out", arguments.out)
    models = _whole("models", arguments.models, 2, MOST_MODELS)
    jobs = None if arguments.jobs is None else _whole("jobs", arguments.jobs, 1, 9999)
    index = None if arguments.index is None else _whole("index", arguments.index, 0, models - 1)
    if arguments.del_ratio is not None:
        check_ratio(arguments.del_ratio)
    for method in arguments.method:
        if method != "original":
            METHODS.check(method)
    learn_tasks(arguments.out)
    get_task(arguments.task)
    if launched_processes() > 1:
        raise BadInput("Shadow models are made by one process each. Start one process, and give it --jobs.")

    # All names have been checked, so that a typo need not wait for torch.
    from mubench_hf.commands._data import be_quiet
    from mubench_hf.data.build import build
    from mubench_hf.data.loading import load_manifest
    from mubench_hf.runs.plan import check_seed
    from mubench_hf.runs.setup import make_setup
    from mubench_hf.runs.shadows.making import Shadows, checked_methods
    from mubench_hf.runs.train import load_rows
    from mubench_hf.utils.locks import held

    be_quiet()
    check_seed(arguments.seed)
    setup = make_setup(
        arguments.task,
        variant=arguments.variant,
        model=arguments.model,
        del_ratio=arguments.del_ratio,
        out=arguments.out,
    )
    methods = checked_methods(arguments.method)
    shadows = Shadows(setup, arguments.kind, methods, arguments.seed, arguments.use_cpu)
    if index is not None:
        shadows.make(index, (rows or load_rows)(setup, None), keep=arguments.keep_weights)
        return
    build(setup.task, variant=setup.variant, out=setup.out, raw=arguments.raw, progress=False)
    shadows.check(load_manifest(setup.task, variant=setup.variant, out=setup.out))
    with held(shadows.work.with_suffix(".claim"), named=shadows.work, doing="making the same models"):
        cells = _cells(shadows, models, arguments)
        if cells and not _done(shadows, cells, jobs):
            raise SystemExit(1)
        for named in shadows.populations:
            print(shadows.assemble(named, models))
        shadows.clear(keep=arguments.keep_weights)


def _parser() -> CommandParser:
    parser = CommandParser("shadow", DESCRIPTION)
    parser.add_argument("task", help="Key of a task, or your own: path/to/file.py, package.module:TASK.")
    add_mini(parser)
    parser.add_argument("--models", required=True, help="How many models; more can be added to them later.")
    parser.add_argument(
        "--kind",
        choices=("half", "reseeded"),
        default="half",
        help="half: each model saw D_r and half of D_f (rmia, lira_offline, ulira); reseeded: retrained models (klom).",
    )
    parser.add_argument(
        "--method",
        nargs="+",
        default=[],
        help="Also the models after these methods made them forget what they saw of D_f (ulira, klom).",
    )
    parser.add_argument("--model", help="A registered model, a Hub id or a folder; default: the task's.")
    parser.add_argument("--del_ratio", help="Percent of train to forget, 1 to 10; default: the task's.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the population (default: 0).")
    parser.add_argument("--out", default="mubench-run", help="Output folder; populations go to OUT/shadow.")
    parser.add_argument("--jobs", help="Models that are made at a time; default: one for each GPU, or one.")
    parser.add_argument("--keep_weights", action="store_true", help="Keep the models, from which other methods go on.")
    parser.add_argument("--index", help="Make this model alone, from 0, and leave it to a later command to collect it.")
    parser.add_argument("--raw", help="Folder of upstream files, for full data that are not on the Hub.")
    add_use_cpu(parser)
    return parser


def _cells(shadows: Shadows, models: int, arguments: Any) -> list[Cell]:
    """Return a cell for each model of which something is missing: the same command for that model alone."""
    from mubench_hf.commands.sweep import portable
    from mubench_hf.runs.sweeps.manifest import Cell

    missing = sorted({index for named in shadows.populations for index in shadows.missing(named, models)})
    setup = shadows.setup
    words = ["mubench", "shadow", portable(arguments.task), *["--mini"] * (setup.variant == "mini")]
    words += ["--kind", shadows.kind, "--seed", str(shadows.seed), "--models", str(models)]
    words += ["--method", *map(portable, arguments.method)] if arguments.method else []
    words += ["--model", portable(arguments.model)] if arguments.model else []
    words += [] if setup.del_ratio is None else ["--del_ratio", str(setup.del_ratio)]
    words += ["--use_cpu"] * arguments.use_cpu + ["--keep_weights"] * arguments.keep_weights
    words += ["--out", str(setup.out.absolute())]
    rows = f"{setup.task.dataset_name(setup.variant)}-{setup.model.name}@{setup.del_ratio}"
    return [Cell(f"model-{index}", "shadow", (*words, "--index", str(index)), rows=rows) for index in missing]


def _done(shadows: Shadows, cells: Sequence[Cell], jobs: int | None) -> bool:
    """Have all cells run, by this process or by workers, and return whether all are done."""
    from mubench_hf.commands._sweep_text import state_text
    from mubench_hf.commands.sweep import visible_gpus
    from mubench_hf.runs.sweeps.launchers import LocalWorkers
    from mubench_hf.runs.sweeps.ledger import Ledger
    from mubench_hf.runs.sweeps.manifest import Manifest
    from mubench_hf.runs.sweeps.watch import watch
    from mubench_hf.utils.progress import RunProgress

    manifest = Manifest({"shadow": shadows.population().name}, tuple(cells), tries=1)
    place = _queue(shadows, manifest)
    ledger, progress = Ledger(place, manifest), RunProgress()
    manifest.save(place)
    ledger.try_again()
    gpus = visible_gpus()
    jobs = jobs or len(gpus) or 1
    with progress.over(len(cells)):
        if jobs == 1 and len(gpus) <= 1:
            _work(place, manifest, progress)
        else:
            workers = LocalWorkers(place, min(jobs, len(cells)), gpus)
            watch(ledger, workers, lambda line: progress.reached(ledger.counts()["done"], line))
    if {*Ledger(place, manifest).states().values()} == {"done"}:
        shutil.rmtree(place, ignore_errors=True)
        return True
    print(state_text(Ledger(place, manifest)))
    print("The same command tries again what failed.", file=sys.stderr)
    return False


def _queue(shadows: Shadows, manifest: Manifest) -> Path:
    """Return the folder in which these cells are shared among workers; others that add other models have their own."""
    text = "\n".join(word for cell in manifest.cells for word in cell.command)
    return shadows.work / f"queue-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _work(place: Path, manifest: Manifest, progress: Any) -> None:
    """Run the cells in this process, from inside the queue's folder, and show each."""
    from mubench_hf.commands._cells import CellRunner
    from mubench_hf.runs.sweeps.ledger import Ledger
    from mubench_hf.runs.sweeps.worker import Worker

    with contextlib.chdir(place):
        runner = CellRunner()

        def execute(cell: Cell) -> str:
            start = time.process_time()
            with progress.part(cell.id) as part:
                outcome = runner(cell)
                part.note(f"{outcome}, {time.process_time() - start:.1f} s of CPU")
            return outcome

        Worker(Ledger(".", manifest), execute).run()


def _whole(flag: str, text: str, least: int, most: int) -> int:
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= found <= most:
        raise BadInput(f"--{flag} is {shown(text[:20])!r}; allowed are whole numbers from {least} to {most}.")
    return found
