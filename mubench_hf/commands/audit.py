"""Audit finished runs: ``mubench audit OUT/mubench/CHECKPOINT ... --out OUT``; published ones by their repository."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.commands._arguments import CommandParser, add_own_task, add_use_cpu, bring_task, exit_with
from mubench_hf.commands._data import be_quiet
from mubench_hf.commands._paths import check_folder
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput
from mubench_hf.hub.download import checkpoint_folder, published_result, split_name
from mubench_hf.runs.audits.report import FOLDER, PARTS
from mubench_hf.runs.record import RECORD, load_record
from mubench_hf.utils.processes import launched_processes

if TYPE_CHECKING:
    from mubench_hf.runs.audits.subject import Subject


def main(argv: Sequence[str]) -> None:
    """Audit checkpoints, each beside its original and its retrained model, and print a table.

    Raises:
        BadInput: If an argument is not allowed or a checkpoint cannot be audited.
    """
    parser = CommandParser(
        "audit",
        "Train, quantise and prune copies of finished runs and see what comes back of D_f, beside the same from their "
        "originals and retrained models. Reports go to OUT/audits; checkpoints and results stay as they are.",
    )
    parser.add_argument(
        "checkpoints",
        nargs="+",
        help="Folders of finished runs, output folders of `mubench run`, or repositories org/name[@revision].",
    )
    parser.add_argument("--out", default=".", help="Folder with the data set; reports go to OUT/audits.")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), help=f"What to do; default: {' '.join(PARTS)}.")
    parser.add_argument(
        "--steps", nargs="+", type=int, default=[1, 2, 5, 10, 20], help="Steps after which D_f is scored."
    )
    parser.add_argument("--most_steps", type=int, default=100, help="Most steps to relearn D_f in; default: 100.")
    parser.add_argument("--learning_rate", type=float, help="Default: the task's preset for fine-tuning.")
    parser.add_argument("--batch_size", type=int, help="Rows of a step; default: the task's.")
    parser.add_argument("--prune", nargs="+", type=float, default=[0.1, 0.3, 0.5], help="Shares of weights to prune.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the order of rows, the same for all models.")
    parser.add_argument("--del_ratio", help="For originals: the percent of train to audit them at; default: 5.")
    add_use_cpu(parser)
    add_own_task(parser)
    arguments = parser.parse_args(list(argv))
    check_folder("--out", arguments.out)
    for part in arguments.parts:
        if part not in PARTS:
            raise BadInput(f"--parts has {part!r}. Allowed: {', '.join(PARTS)}.")
    for share in arguments.prune:
        if not 0 < share < 1:
            raise BadInput(f"--prune has {share:g}. Allowed: shares above 0 and below 1, such as 0.3.")
    bring_task(arguments.task)
    ratio = None if arguments.del_ratio is None else check_ratio(arguments.del_ratio)
    folders = [folder for name in arguments.checkpoints if Path(name).is_dir() for folder in _runs(Path(name))]
    published = [name for name in arguments.checkpoints if not Path(name).is_dir()]
    for name in published:
        split_name(name)
    if launched_processes() > 1:
        raise BadInput("An audit runs in one process. Give the command without a launcher.")
    be_quiet()

    # All names have been checked, so that a typo need not wait for torch.
    from mubench_hf.results.audit_plots import plot_audits
    from mubench_hf.results.audits import print_audits
    from mubench_hf.runs.audits.audit import Audit
    from mubench_hf.runs.audits.bench import AuditSettings
    from mubench_hf.runs.audits.relearning import Relearning
    from mubench_hf.runs.kept_rows import KeptRows

    relearning = Relearning(
        tuple(arguments.steps),
        arguments.most_steps,
        arguments.learning_rate,
        arguments.batch_size,
        arguments.seed,
    )
    settings = AuditSettings(relearning, tuple(sorted(set(arguments.prune))))
    out = Path(arguments.out)
    subjects = [_local(folder, out, ratio) for folder in folders] + [_fetched(name, out, ratio) for name in published]
    audit = Audit(settings, arguments.parts, rows=KeptRows(), use_cpu=arguments.use_cpu)
    reports = audit.run(subjects)
    pictures = plot_audits(reports, out / FOLDER, settings.tag)
    print_audits(reports)
    print(
        f"Reports and pictures: {out / FOLDER}, such as {pictures[0].name}" if pictures else f"Reports: {out / FOLDER}"
    )


def _runs(folder: Path) -> list[Path]:
    """Return a run's folder, or those of all runs under an output folder."""
    if (folder / RECORD).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.glob(f"mubench/*/{RECORD}"))
    if not found:
        raise BadInput(f"{folder} has no {RECORD}, and no runs in {folder / 'mubench'}. Give the folder of a run.")
    return found


def _local(folder: Path, out: Path, ratio: int | None) -> Subject:
    from mubench_hf.runs.audits.subject import Subject

    def find(name: str) -> Path | None:
        places = (folder.parent / name, out / "mubench" / name)
        return next((place for place in places if (place / RECORD).is_file()), None)

    return Subject(folder, load_record(folder), find, out, ratio)


def _fetched(name: str, out: Path, ratio: int | None) -> Subject:
    from mubench_hf.runs.audits.subject import Subject

    repo, revision = split_name(name)
    folder, org = checkpoint_folder(repo, revision), repo.split("/")[0]
    return Subject(folder, load_record(folder), partial(_found, org), out, ratio, org, published=True)


def _found(org: str, name: str) -> Path | None:
    """Return the folder of another checkpoint of an organisation; ``None`` if it has published none of that name."""
    repo = f"{org}/{name}"
    return None if published_result(repo) is None else checkpoint_folder(repo)


if __name__ == "__main__":
    exit_with(main)
