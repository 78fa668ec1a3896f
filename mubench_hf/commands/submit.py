"""Submit results to the leaderboard: ``python -m mubench_hf.commands.submit OUT ... --push``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mubench_hf.commands._arguments import CommandParser, exit_with
from mubench_hf.commands.publish import show
from mubench_hf.errors import BadInput, visible
from mubench_hf.leaderboard import Contents, Entry, read_folder, read_results
from mubench_hf.leaderboard.checks import Problem, tables
from mubench_hf.leaderboard.marks import write_marks
from mubench_hf.leaderboard.reading import RESULTS
from mubench_hf.leaderboard.submission import submission_bundle, submission_title
from mubench_hf.leaderboard.verify import Verdict, verify_submission


def gather(runs: Sequence[str]) -> Contents:
    """Return the results of output folders and of single result files, with their outputs.

    Raises:
        BadInput: If one is neither, or two hold the same run.
    """
    entries: dict[str, Entry] = {}
    left_out = []
    for name in runs:
        place = Path(name)
        if not place.exists():
            raise BadInput(f"There is no {place}. Give an output folder of `mubench run`, or a result file.")
        contents = read_folder(place if place.is_dir() else place.parent)
        if not place.is_dir():
            chosen = [entry for entry in contents.entries if entry.file == place]
            contents = Contents(tuple(chosen), tuple(out for out in contents.left_out if out.path == place.name))
        for entry in contents.entries:
            there = entries.setdefault(entry.result.name, entry)
            if there.digest != entry.digest:
                raise BadInput(f"{there.file} and {entry.file} are different results of one run; submit one of them.")
        left_out += contents.left_out
    return Contents(tuple(entries[name] for name in sorted(entries)), tuple(left_out))


def leaderboard_runs(submission: Contents, where: str) -> tuple[Entry, ...]:
    """Return the leaderboard's results if the submission lacks a reference, otherwise none, as none are needed.

    Raises:
        BadInput: If they are needed and cannot be read.
    """
    whole = not any(table.lacking(entry.result) for table in tables(submission.entries) for entry in table.entries)
    return () if whole else read_results(where).entries


def submit(arguments: Namespace) -> None:
    """Check results and show what would be submitted; with ``--push`` open a pull request.

    Raises:
        BadInput: If the results cannot be submitted, naming the first reason, or the Hub refuses them.
    """
    submission = gather(arguments.runs)
    verdict = verify_submission(submission, leaderboard_runs(submission, arguments.to), arguments.data)
    if verdict.problems:
        more = len(verdict.problems) - 1
        others = f" ({more} more problem{'s' * (more > 1)})" if more else ""
        raise BadInput(f"This cannot be submitted. {verdict.problems[0]}{others}")
    bundle = submission_bundle(submission.entries, arguments.to)
    show(bundle, Console(), card=False)
    print(visible(verdict.summary), *map(visible, verdict.notes), sep="\n")
    if not arguments.push:
        print("Nothing was sent. Add --push to open a pull request.")
        return

    from mubench_hf.hub.propose import propose
    from mubench_hf.hub.publish import Publisher

    done = propose(Publisher(), bundle, submission_title(submission.entries), "\n\n".join(verdict.notes))
    print(f"{bundle.name}: {done.outcome}{f', {done.url}' if done.url else ''}")


def verify_folder(folder: Path, data: Path | None) -> None:
    """Recompute every score of a folder and mark its results verified, or name the first difference.

    Raises:
        BadInput: If there is no such folder.
        SystemExit: With code 1, if anything does not agree; nothing is marked then.
    """
    verdict = verify_submission(read_folder(folder), data=data)
    if verdict.problems:
        _print_problems(verdict)
        raise SystemExit(1)
    from mubench_hf.utils.files import file_sha256

    marks = {entry.result.name: (entry.digest, file_sha256(entry.outputs)) for entry in verdict.verified}
    file = write_marks(folder, marks)
    print(f"Verified: {len(marks)} runs, marked in {file}. {visible(verdict.summary)}")
    print(*map(visible, verdict.notes), sep="\n")


def _print_problems(verdict: Verdict) -> None:
    first: Problem = verdict.problems[0]
    print(f"Not verified, and nothing was marked. First difference: {visible(first)}")
    if len(verdict.problems) > 1:
        print(f"{len(verdict.problems) - 1} more:", *map(visible, verdict.problems[1:]), sep="\n  ")


def main(argv: Sequence[str]) -> None:
    """Submit results, or verify those of others.

    Raises:
        BadInput: If the results cannot be submitted, or something named does not exist.
    """
    parser = CommandParser("submit", "Check results for the leaderboard; with --push, open a pull request.")
    parser.add_argument("runs", nargs="*", help="Output folders of `mubench run`, or result files.")
    parser.add_argument("--to", default=RESULTS, metavar="REPO", help="Results data set on the Hub.")
    parser.add_argument("--push", action="store_true", help="Open the pull request; without it nothing is sent.")
    parser.add_argument("--data", type=Path, help="Folder with built full data sets, to compare labels with.")
    parser.add_argument(
        "--verify", type=Path, metavar="PATH", help="Recompute all scores of a folder and mark its results verified."
    )
    arguments = parser.parse_args(list(argv))
    if (arguments.verify is None) == (not arguments.runs):
        raise BadInput("Name the runs to submit, or one folder with --verify. See: mubench submit --help")
    if arguments.verify is not None and arguments.push:
        raise BadInput("--push goes with runs to submit, and --verify sends nothing. Leave one of them out.")
    if arguments.data is not None and not arguments.data.is_dir():
        raise BadInput(
            f"--data is {str(arguments.data)!r}, and there is no such folder. Name one with built data sets."
        )
    if arguments.verify is not None:
        verify_folder(arguments.verify, arguments.data)
    else:
        submit(arguments)


if __name__ == "__main__":
    exit_with(main)
