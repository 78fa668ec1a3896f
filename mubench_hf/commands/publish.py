"""Publish: ``python -m mubench_hf.commands.publish model OUT/mubench/CHECKPOINT --push``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.text import Text
from rich.tree import Tree

from mubench_hf.commands._arguments import CommandParser, exit_with
from mubench_hf.commands._flags import add_mini
from mubench_hf.data.manifest import learn_tasks
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput, shown, unknown_name, visible
from mubench_hf.hub import Bundle, dataset_bundle, list_spaces, metric_bundle, model_bundle, space_bundle
from mubench_hf.metrics import declared_metrics
from mubench_hf.tasks import get_task, list_tasks

if TYPE_CHECKING:
    from argparse import Namespace

    from mubench_hf.hub.publish import Published


def dataset_bundles(arguments: Namespace) -> list[Bundle]:
    """Return the data sets that are named; ``all`` stands for all that are built under ``--out``.

    Raises:
        BadInput: If a named one is not built, or ``all`` finds none.
    """
    out, variant, org = Path(arguments.out or "."), arguments.variant, arguments.org
    described = learn_tasks(out)
    if arguments.names != ["all"]:
        return [dataset_bundle(get_task(name), variant=variant, out=out, org=org) for name in arguments.names]
    bundles = []
    for task in map(get_task, [*list_tasks(), *(described if variant == "full" else ())]):
        # `mubench run` of several tasks gives each a folder of its own.
        places = [
            place for place in (out, out / task.name) if (place / "mubench" / task.dataset_name(variant)).is_dir()
        ]
        bundles += [dataset_bundle(task, variant=variant, out=place, org=org) for place in places[:1]]
        if not places:
            print(f"Left out, not built under {out}: {task.dataset_name(variant)}")
    if not bundles:
        raise BadInput(f"No {variant} data set is built under {out}. Run: mubench build TASK --out {out}")
    return bundles


def model_bundles(arguments: Namespace) -> list[Bundle]:
    """Return the checkpoints whose folders are named.

    Raises:
        BadInput: If a folder is not that of a finished run or has no result.
    """
    ratio = None if arguments.del_ratio is None else check_ratio(arguments.del_ratio)
    return [model_bundle(name, out=arguments.out, org=arguments.org, ratio=ratio) for name in arguments.names]


def metric_bundles(arguments: Namespace) -> list[Bundle]:
    """Return the metrics that are named; ``all`` stands for all of this package.

    Raises:
        BadInput: If this package has no such metric.
    """
    names = list(declared_metrics()) if arguments.names == ["all"] else arguments.names
    return [metric_bundle(name, org=arguments.org) for name in names]


def space_bundles(arguments: Namespace) -> list[Bundle]:
    """Return the Spaces that are named; ``all`` stands for all of them.

    Raises:
        BadInput: If there is no such Space.
    """
    names = list_spaces() if arguments.names == ["all"] else arguments.names
    return [space_bundle(name, org=arguments.org) for name in names]


KINDS: dict[str, Callable[[Any], list[Bundle]]] = {
    "dataset": dataset_bundles,
    "model": model_bundles,
    "metric": metric_bundles,
    "space": space_bundles,
}


def show(bundle: Bundle, console: Console, card: bool = True) -> None:
    """Print what would be sent: every file with its size, what is left out, and the card as people will read it."""
    sizes = {path: bundle.size(path) for path in sorted(bundle.files)}
    tree = Tree(Text.assemble((bundle.name, "bold"), f" ({len(sizes)} files, {decimal(sum(sizes.values()))})"))
    for path, size in sizes.items():
        tree.add(Text.assemble(shown(path), " ", (decimal(size), "dim")))
    console.print(tree, highlight=False)
    for path in bundle.left_out:
        console.print(f"Not sent: {shown(path)}", style="dim", markup=False, highlight=False)
    if card:
        _, metadata, body = visible(_text(bundle.files["README.md"])).split("---\n", 2)
        console.print(Syntax(metadata.rstrip(), "yaml", background_color="default", word_wrap=True))
        console.print(Markdown(body))


def _text(file: Path | bytes) -> str:
    return file.decode() if isinstance(file, bytes) else file.read_text(encoding="utf-8")


def main(argv: Sequence[str]) -> None:
    """Show what would be published, or with ``--push`` publish it.

    Raises:
        BadInput: If something named does not exist or may not be published, or the Hub refuses it.
    """
    parser = CommandParser("publish", "Show what would be published; with --push, publish it.")
    parser.add_argument("kind", metavar="KIND", help="dataset, model, metric or space.")
    parser.add_argument("names", nargs="+", help="Tasks, metrics or Spaces (all: every one), or checkpoint folders.")
    parser.add_argument("--org", default="mubench", help="Organisation or user on the Hub.")
    parser.add_argument("--push", action="store_true", help="Publish; without it nothing is sent.")
    add_mini(parser, "For data sets: the small stand-ins.")
    parser.add_argument("--out", help="Folder with data sets and results; a checkpoint's default: the one it lies in.")
    parser.add_argument("--del_ratio", help="Originals: percent of train at which scores are published; default: 5.")
    arguments = parser.parse_args(list(argv))
    if arguments.kind not in KINDS:
        raise unknown_name("kind to publish", arguments.kind, KINDS)
    bundles, console = KINDS[arguments.kind](arguments), Console()
    for bundle in bundles:
        show(bundle, console, card=not arguments.push)
    if not arguments.push:
        print("Nothing was sent. Add --push to publish.")
        return

    from mubench_hf.hub.publish import Publisher

    def report(done: Published) -> None:
        print(f"{done.bundle.name}: {done.outcome}, revision {done.revision}", flush=True)

    Publisher().publish(bundles, report)


if __name__ == "__main__":
    exit_with(main)
