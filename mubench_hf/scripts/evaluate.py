"""Evaluate checkpoints: ``python -m mubench_hf.scripts.evaluate OUT/mubench/CHECKPOINT ... --out OUT``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mubench_hf.data.prepare import load_task_data
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import saved_processor
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.report import evaluate_checkpoint
from mubench_hf.results.schema import RunResult
from mubench_hf.results.tables import print_table
from mubench_hf.runs.record import RECORD, load_record
from mubench_hf.scripts._arguments import CommandParser, exit_with
from mubench_hf.tasks import get_task


def evaluate_into(checkpoint: str | Path, out: str | Path, ratio: int | None = None) -> RunResult:
    """Evaluate one checkpoint and keep its result in ``out/results``.

    Args:
        checkpoint: Folder of a finished run.
        out: Folder with the data set it was made from.
        ratio: For an original, which is of every ratio: the one to evaluate at.

    Raises:
        BadInput: If the folder is no finished run's, its data set is missing or is another one.
    """
    record = load_record(checkpoint)
    if record is None:
        raise BadInput(f"{checkpoint} has no {RECORD}, so it is not a checkpoint that `mubench` made.")
    task, mini = get_task(record.run.task), record.run.source == "mini"
    ratio = record.run.del_ratio or check_ratio(ratio or 5)
    loader = get_model(record.run.model).architecture.processor_class
    data = load_task_data(
        task,
        mini=mini,
        ratio=ratio,
        processor=lambda texts: saved_processor(checkpoint, processor_class=loader),
        out=out,
    )
    return evaluate_checkpoint(checkpoint, record, data, Path(out) / "results")


def main(argv: Sequence[str]) -> None:
    """Evaluate checkpoints and print one table a task, source, model and ratio.

    Raises:
        BadInput: If an argument is not allowed or a checkpoint cannot be evaluated.
    """
    parser = CommandParser("evaluate", "Evaluate checkpoints into OUT/results and print their table.")
    parser.add_argument("checkpoints", nargs="+", help="Folders of finished runs.")
    parser.add_argument("--out", default=".", help="Folder with the data set; results go to OUT/results.")
    parser.add_argument("--del_ratio", default="5", help="Percent of train at which an original is evaluated.")
    arguments = parser.parse_args(list(argv))
    ratio = check_ratio(arguments.del_ratio)
    results = [evaluate_into(checkpoint, arguments.out, ratio) for checkpoint in arguments.checkpoints]
    for groups in aggregate(results):
        task = get_task(groups[0].task)
        print_table(groups, task.title, task.metric)


if __name__ == "__main__":
    exit_with(main)
