"""``mubench build``: write data sets with their deletion splits."""

from __future__ import annotations

from collections.abc import Sequence

from mubench_hf.commands._arguments import CommandParser
from mubench_hf.commands._data import add_data_flags, asked_tasks
from mubench_hf.commands._flags import add_mini
from mubench_hf.commands._paths import check_folder
from mubench_hf.data.blocks import config_name, ratio_of
from mubench_hf.data.build import build
from mubench_hf.errors import BadInput


def main(argv: Sequence[str]) -> None:
    """Build the data set of one task, or of several.

    Raises:
        BadInput: If an argument is not allowed, or a data set cannot be built.
    """
    parser = CommandParser("build", "Write a task's data set, with its deletion splits as configurations.")
    parser.add_argument("tasks", nargs="*", help="Key of a task, or several; all: every task.")
    add_mini(parser)
    parser.add_argument("--out", default=".", help="Folder that gets mubench/<data set>.")
    parser.add_argument("--raw", help="Folder of upstream files to read instead of the Hub.")
    parser.add_argument("--model", help="With --data whose label is a text to write: the model that will write it.")
    add_data_flags(parser)
    given = vars(parser.parse_args(list(argv)))
    variant, out, raw = given.pop("variant"), given.pop("out"), given.pop("raw")
    check_folder("--out", out)
    if given["model"] is not None and given["data"] is None:
        raise BadInput("--model goes with --data: a task's data set is the same for every model. Leave it out.")
    for task in asked_tasks(given, variant, out):
        folder = build(task, variant=variant, out=out, raw=raw)
        config = config_name(ratio_of(task, variant))
        print(f"{folder}: built. From {out}: load_dataset('mubench/{folder.name}', '{config}')")
