"""Evaluate checkpoints: ``python -m mubench_hf.commands.evaluate OUT/mubench/CHECKPOINT ... --out OUT``.

A published checkpoint is named by its repository; its scores are computed again and compared with the stated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from mubench_hf.commands._arguments import (
    CommandParser,
    add_metrics,
    add_own_task,
    add_use_cpu,
    bring_metrics,
    bring_task,
    exit_with,
)
from mubench_hf.commands._paths import check_folder
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput, shown
from mubench_hf.hub.download import split_name
from mubench_hf.hub.verify import Verification, verify_checkpoint
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.tables import print_table
from mubench_hf.runs.agreement import FACTOR, FLIPPED_ROWS, FLOOR, ROUNDING, UNKNOWN
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.evaluate import evaluate_checkpoint
from mubench_hf.runs.record import RECORD, load_record
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.setup import setup_of
from mubench_hf.tasks import get_task
from mubench_hf.utils.processes import by_first, check_joined, joined, together

if TYPE_CHECKING:
    import torch

    from mubench_hf.runs.train import LoadRows


def evaluate_into(
    checkpoint: str | Path,
    out: str | Path,
    ratio: int | None = None,
    *,
    rows: LoadRows | None = None,
    device: torch.device | None = None,
    metrics: Sequence[str] = (),
) -> RunResult:
    """Evaluate one checkpoint and keep its result in ``out/results``.

    Where metrics are asked for and the outputs that an earlier evaluation kept suffice for them, no model is run.

    Args:
        checkpoint: Folder of a finished run.
        out: Folder with the data set it was made from.
        ratio: The ratio to evaluate an original at, which serves every ratio.
        rows: Where the data set's rows come from; default: ``load_rows``.
        device: Where the model runs, see ``measure_checkpoint``.
        metrics: What to compute beside the task's metrics and the default ones; ``all``: every metric.

    Raises:
        BadInput: If the folder is not that of a finished run, or its data set is missing or a different one.
    """
    record = load_record(checkpoint)
    if record is None:
        raise BadInput(f"{checkpoint} has no {RECORD}, so it is not a checkpoint that `mubench` made.")
    setup = setup_of(record, checkpoint, out, ratio)

    from mubench_hf.runs.finished import fill_in
    from mubench_hf.runs.train import load_rows

    if metrics:
        check_files(checkpoint, record)
        file = setup.results / f"{record.run.at(setup.del_ratio).name}.json"
        with together():
            filled = by_first(lambda: fill_in(file, record, metrics))
        if filled:
            return filled
    prepared = (rows or load_rows)(setup, checkpoint)
    return evaluate_checkpoint(checkpoint, record, prepared, setup.results, metrics=metrics, device=device)


def show(verification: Verification, console: Console) -> None:
    """Print stated and recomputed scores side by side and, below, whether they agree."""
    table = Table(Column("Score", no_wrap=True), "Stated", "Recomputed", "Allowed", "Agrees", "", box=SIMPLE_HEAD)
    for score in verification.checks:
        values = ("–" if value is None else f"{value:.6g}" for value in (score.stated, score.found))
        allowed = "–" if score.tolerance is None else f"± {score.tolerance:.2g}"
        table.add_row(Text(shown(score.key)), *values, allowed, score.agrees, Text(shown(score.note)))
    print(f"\n{verification.repo} at {verification.revision}")
    console.print(table)
    print(
        f"Allowed: {FACTOR:g} times what noise of {ROUNDING:g} of the spread of the outputs measured here changes in a "
        f"score,\nat least {FLOOR:g}; where texts are written, {FLIPPED_ROWS} rows may turn over.\n"
        "Nothing that is published of the hardware, the packages or the device changes this."
    )
    unknown = [score.key for score in verification.checks if score.agrees == UNKNOWN]
    if unknown:
        print(f"Not compared: {shown(', '.join(unknown))}")
    if verification.differing:
        print(f"differs: {shown(', '.join(score.key for score in verification.differing))}")
    else:
        print(f"agrees: {len(verification.checks) - len(unknown)} of {len(verification.checks)} stated scores")


def main(argv: Sequence[str], *, rows: LoadRows | None = None) -> None:
    """Evaluate checkpoints and print one table per task, variant, model and ratio; check published ones.

    Args:
        argv: Arguments of the command.
        rows: Where the rows of folders come from; default: ``load_rows``.

    Raises:
        BadInput: If an argument is not allowed or a checkpoint cannot be evaluated.
        SystemExit: With code 1, if a published checkpoint's scores do not agree with the stated ones.
    """
    parser = CommandParser("evaluate", "Evaluate checkpoints into OUT/results, or check the scores of published ones.")
    parser.add_argument("checkpoints", nargs="+", help="Folders of finished runs, or repositories org/name[@revision].")
    parser.add_argument("--out", default=".", help="Folder with the data set; results of folders go to OUT/results.")
    parser.add_argument("--del_ratio", help="For originals: the percent of train to evaluate them at; default: 5.")
    add_use_cpu(parser)
    add_own_task(parser)
    add_metrics(parser)
    arguments = parser.parse_args(list(argv))
    check_folder("--out", arguments.out)
    bring_task(arguments.task)
    bring_metrics(arguments.metrics)
    ratio = None if arguments.del_ratio is None else check_ratio(arguments.del_ratio)
    folders = [name for name in arguments.checkpoints if Path(name).is_dir()]
    published = [name for name in arguments.checkpoints if name not in folders]
    for name in published:
        split_name(name)

    # All names have been checked, so that a typo need not wait for torch.
    from mubench_hf.models.device import model_device
    from mubench_hf.runs.kept_rows import KeptRows

    device, kept = model_device(arguments.use_cpu), KeptRows()
    check_joined()
    asked = arguments.metrics
    results = [
        evaluate_into(folder, arguments.out, ratio, rows=rows or kept, device=device, metrics=asked)
        for folder in folders
    ]
    shows = joined()[0] == 0
    for groups in aggregate(results) if shows else ():
        task = get_task(groups[0].task)
        print_table(groups, task.title, task.metric)
    agree = True
    for name in published:
        with together():
            verification = verify_checkpoint(name, out=arguments.out, device=device, rows=kept)
        if shows:
            show(verification, Console())
        agree &= not verification.differing
    if not agree:
        raise SystemExit(1)


if __name__ == "__main__":
    exit_with(main)
