"""Build one data set of the benchmark: python dataset_scripts/build.py cifar100 --mini --out DIR."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mubench_hf.data import build
from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task


def main(arguments: list[str] | None = None) -> int:
    """Build the data set that the arguments name and print its folder; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="key of the task, such as cifar100")
    parser.add_argument(
        "--mini",
        dest="variant",
        action="store_const",
        const="mini",
        default="full",
        help="the small stand-in, made without a network",
    )
    parser.add_argument("--out", type=Path, default=Path("."), help="folder that gets mubench/<data set>")
    parser.add_argument("--raw", type=Path, help="folder with the upstream files, in place of the Hub")
    args = parser.parse_args(arguments)
    try:
        print(build(get_task(args.task), variant=args.variant, out=args.out, raw=args.raw))
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
