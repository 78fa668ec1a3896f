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
from mubench_hf.leaderboard.checks import Problem, check, references_of, tables
from mubench_hf.leaderboard.entries import by_age
from mubench_hf.leaderboard.folders import FLAT
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
            if entry.submission:
                raise BadInput(
                    f"{place} is a results data set. Submit output folders of `mubench run`, or result files."
                )
            there = entries.setdefault(entry.result.name, entry)
            if there.digest != entry.digest:
                raise BadInput(f"{there.file} and {entry.file} are different results of one run; submit one of them.")
        left_out += contents.left_out
    return Contents(tuple(entries[name] for name in sorted(entries)), tuple(left_out))


def is_whole(submission: Contents, known: Sequence[Entry] = ()) -> bool:
    """Return whether a submission has all that its scores are compared with, by itself or with others' runs."""
    found = tables(submission.entries, known)
    return not any(table.lacking(entry.result) for table in found for entry in table.entries)


def choose_references(submission: Contents, board: Sequence[Entry]) -> tuple[list[Entry], str | None]:
    """Return the originals and retrained models of the one submission on the leaderboard that has all that is lacking.

    Args:
        submission: What is submitted.
        board: The leaderboard's runs.

    Returns:
        Them and the id of their submission, verified ones first; if nobody has all, those in no submission's folder.
    """
    names = dict.fromkeys(entry.submission for entry in sorted(board, key=by_age))
    for name in names:
        known = references_of(name, board)
        if is_whole(submission, known) and not list(check(submission, known)):
            return known, name
    return references_of(FLAT, board), None


def submit(arguments: Namespace) -> None:
    """Check results and show what would be submitted; with ``--push`` open a pull request.

    Raises:
        BadInput: If the results cannot be submitted, naming the first reason, or the Hub refuses them.
    """
    submission = gather(arguments.runs)
    board = () if is_whole(submission) else read_results(arguments.to).entries
    known, references = choose_references(submission, board) if board else ([], None)
    verdict = verify_submission(submission, known, arguments.data)
    if verdict.problems:
        more = len(verdict.problems) - 1
        others = f" ({more} more problem{'s' * (more > 1)})" if more else ""
        raise BadInput(f"This cannot be submitted. {verdict.problems[0]}{others}")
    there = {entry.digest: entry.submission for entry in board}
    if submission.entries and all(entry.digest in there for entry in submission.entries):
        print(f"datasets/{arguments.to}: already there")
        return
    bundle = submission_bundle(submission.entries, arguments.to, references)
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

    Each submission is judged by itself: what keeps one from being marked keeps no other.

    Raises:
        BadInput: If there is no such folder.
        SystemExit: With code 1, if anything does not agree; nothing of its submission is marked then.
    """
    verdict = verify_submission(read_folder(folder), data=data)
    from mubench_hf.utils.files import file_sha256

    marks = {entry.key: (entry.digest, file_sha256(entry.outputs)) for entry in verdict.verified if entry.outputs}
    if marks or not verdict.problems:
        file = write_marks(folder, marks)
        print(f"Verified: {len(marks)} runs, marked in {file}. {visible(verdict.summary)}")
        print(*map(visible, verdict.notes), sep="\n")
    if verdict.problems:
        _print_problems(verdict)
        raise SystemExit(1)


def _print_problems(verdict: Verdict) -> None:
    first: Problem = verdict.problems[0]
    names = list(dict.fromkeys(problem.submission for problem in verdict.problems))
    what = "Not verified, and nothing was marked."
    if verdict.verified or names != [FLAT]:
        named = ", ".join(name or "what is in no submission's folder" for name in names)
        what = f"Not verified, and nothing of it was marked: {named}."
    print(f"{what} First difference: {visible(first)}")
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
