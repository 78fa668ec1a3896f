"""``mubench build``: write data sets with their deletion splits."""

from __future__ import annotations

from collections.abc import Sequence

from mubench_hf.commands._arguments import CommandParser
from mubench_hf.commands._tasks import named_tasks
from mubench_hf.data.build import build


def main(argv: Sequence[str]) -> None:
    """Build the data set of one task, or of several."""
    parser = CommandParser("build", "Write a task's data set, with its deletion splits as configurations.")
    parser.add_argument("tasks", nargs="+", help="Key of the task, or of several; all: every task.")
    parser.add_argument(
        "--mini",
        dest="variant",
        action="store_const",
        const="mini",
        default="full",
        help="The small stand-in data, which need no network.",
    )
    parser.add_argument("--out", default=".", help="Folder that gets mubench/<data set>.")
    parser.add_argument("--raw", help="Folder of upstream files, read in place of the Hub.")
    arguments = parser.parse_args(list(argv))
    for task in named_tasks(arguments.tasks):
        folder = build(task, variant=arguments.variant, out=arguments.out, raw=arguments.raw)
        print(f"{folder}: built. From {arguments.out}: load_dataset('mubench/{folder.name}', 'df_5pct')")
