"""What a submission must be before anything is recomputed: whole tables, from one data set, over enough seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mubench_hf.leaderboard.entries import Contents, Entry
from mubench_hf.leaderboard.outputs import LARGEST_OUTPUTS
from mubench_hf.tasks import get_task

FEWEST_SEEDS = 3
"""Seeds of a method on the leaderboard: fewer have no spread worth the name."""

SAME = {
    "data_fingerprint": "rows",
    "deletion_sha256": "deletion list",
    "base_revision": "original that the runs start from",
}
"""Fields that all runs of a table share, and what they identify."""


@dataclass(frozen=True)
class Problem:
    """Why a run cannot be taken.

    Attributes:
        run: Name of the run, or of a file.
        text: What was found, what is allowed and what to do.
    """

    run: str
    text: str

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.run}: {self.text}"


@dataclass(frozen=True)
class Table:
    """The runs of one task, source, model and deletion ratio.

    Attributes:
        entries: The submitted runs.
        known: Runs that are on the leaderboard already and not among them.
    """

    entries: tuple[Entry, ...]
    known: tuple[Entry, ...] = ()

    @property
    def every(self) -> tuple[Entry, ...]:
        """All runs, in the order in which they are scored: original, retrained models, methods."""
        order = {"original": 0, "retrain": 1}
        return tuple(
            sorted(self.known + self.entries, key=lambda entry: (order.get(entry.result.method, 2), entry.result.name))
        )

    def original(self) -> Entry | None:
        """Return the original, ``None`` if there is none."""
        return next((entry for entry in self.every if entry.result.method == "original"), None)

    def retrain(self, seed: int) -> Entry | None:
        """Return the retrained model of a seed, ``None`` if there is none."""
        runs = (entry for entry in self.every if entry.result.method == "retrain")
        return next((entry for entry in runs if entry.result.seed == seed), None)


def tables(entries: Iterable[Entry], known: Iterable[Entry] = ()) -> list[Table]:
    """Sort submitted runs into tables, each with the known runs that belong to it."""
    mine, theirs = _by_table(entries), _by_table(known)
    names = {entry.result.name for runs in mine.values() for entry in runs}
    return [
        Table(tuple(mine[key]), tuple(entry for entry in theirs[key] if entry.result.name not in names))
        for key in sorted(mine)
    ]


def check(submission: Contents, known: Sequence[Entry] = ()) -> Iterator[Problem]:
    """Yield what keeps a submission from being taken, before its outputs are read.

    Args:
        submission: What is submitted.
        known: Runs on the leaderboard: they may hold the references.
    """
    for left_out in submission.left_out:
        yield Problem(left_out.path, left_out.reason)
    if not submission.entries:
        yield Problem("submission", "it holds no result. Give an output folder of `mubench run`, or result files.")
    there = {entry.result.name: entry.digest for entry in known}
    for table in tables(submission.entries, known):
        for entry in table.entries:
            if there.get(entry.result.name, entry.digest) != entry.digest:
                text = "the leaderboard has another result of that name. Submissions add results, they replace none."
                yield Problem(entry.result.name, text)
            yield from _files(entry)
        yield from _same_data(table)
        yield from _references(table)
        yield from _seeds(table)


def _by_table(entries: Iterable[Entry]) -> dict[tuple, list[Entry]]:
    found = defaultdict(list)
    for entry in entries:
        found[entry.result.task, entry.result.variant, entry.result.model, entry.result.del_ratio].append(entry)
    return found


def _files(entry: Entry) -> Iterator[Problem]:
    if entry.result.status == "failed":
        text = f"it failed ({entry.result.status_reason}); only finished runs are taken. Run it again or leave it out."
        yield Problem(entry.result.name, text)
    elif entry.outputs is None:
        text = f"its outputs are missing. Put {entry.result.name}.npz beside the result, as `mubench evaluate` does."
        yield Problem(entry.result.name, text)
    elif entry.outputs.stat().st_size > LARGEST_OUTPUTS:
        text = f"its outputs have {entry.outputs.stat().st_size} bytes; allowed: {LARGEST_OUTPUTS}."
        yield Problem(entry.result.name, text)


def _same_data(table: Table) -> Iterator[Problem]:
    first = table.every[0].result
    published = get_task(first.task).source(first.variant).deletion_sha256
    for field, what in SAME.items():
        # An original starts from nothing that was submitted.
        runs = [entry.result for entry in table.every if getattr(entry.result, field) is not None]
        expected = {"deletion_sha256": published}.get(field) or (getattr(runs[0], field) if runs else None)
        for run in runs:
            if (found := getattr(run, field)) != expected:
                yield Problem(
                    run.name,
                    f"another {what} ({field} {found[:12]}) than the other runs' or the published one's "
                    f"({expected[:12]}). Run it with the benchmark's own data set and original.",
                )


def _references(table: Table) -> Iterator[Problem]:
    originals = {entry.result.name for entry in table.every if entry.result.method == "original"}
    named = table.entries[0].result.run
    where = f"{named.original_name} at {named.del_ratio}%"
    if len(originals) != 1:
        found = f"{len(originals)} originals" if originals else "no original"
        yield Problem(where, f"{found}; scores are compared with exactly one. Submit the whole output folder.")
    seeds = {entry.result.seed for entry in table.entries if entry.result.method != "original"}
    missing = sorted(seed for seed in seeds if table.retrain(seed) is None)
    if missing:
        text = f"no retrained model of seed {', '.join(map(str, missing))}, so that gaps cannot be computed. Submit it."
        yield Problem(where, text)


def _seeds(table: Table) -> Iterator[Problem]:
    seeds = defaultdict(set)
    for entry in table.every:
        seeds[entry.result.method].add(entry.result.seed)
    for method in sorted({entry.result.method for entry in table.entries} - {"original"}):
        if len(seeds[method]) < FEWEST_SEEDS:
            found = ", ".join(map(str, sorted(seeds[method])))
            run = next(entry.result for entry in table.entries if entry.result.method == method)
            yield Problem(
                f"{run.run.original_name}-{method}-df{run.del_ratio}pct",
                f"{len(seeds[method])} seeds ({found}); at least {FEWEST_SEEDS} are needed. Run more.",
            )
