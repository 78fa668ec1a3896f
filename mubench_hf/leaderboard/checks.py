"""What a submission must be before anything is recomputed: whole tables, from one data set, over enough seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mubench_hf.leaderboard.entries import Contents, Entry
from mubench_hf.leaderboard.folders import FLAT
from mubench_hf.leaderboard.outputs import LARGEST_OUTPUTS
from mubench_hf.metrics.parameters import REFERENCES
from mubench_hf.results.aggregate import aggregate
from mubench_hf.runs.record import ORIGINAL, own_original, reference_names
from mubench_hf.runs.result import RunResult
from mubench_hf.tasks import get_task
from mubench_hf.utils.files import file_sha256

FEWEST_SEEDS = 3
"""Seeds of a method on the leaderboard: fewer have no spread worth the name."""

LARGEST_TABLE = 4 * 2**30
"""Bytes of all outputs of a table, which are read together."""

SAME = {"data_fingerprint": "rows", "deletion_sha256": "deletion list"}
"""Fields that all runs of a table share, and what they identify."""


@dataclass(frozen=True)
class Problem:
    """Why a run cannot be taken.

    Attributes:
        run: Name of the run, or of a file.
        text: What was found, what is allowed and what to do.
        submission: Id of the submission that cannot be taken.
    """

    run: str
    text: str
    submission: str = FLAT

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.submission}/{self.run}: {self.text}" if self.submission else f"{self.run}: {self.text}"


@dataclass(frozen=True)
class Table:
    """The runs of one submission, task, source, model and deletion ratio.

    Attributes:
        entries: The submitted runs.
        known: Runs that they are compared with and that are on the leaderboard already.
        others: Runs of the same task, source, model and ratio in other submissions: nothing is compared with their
            scores, but nobody may hand in their outputs as another run's.
    """

    entries: tuple[Entry, ...]
    known: tuple[Entry, ...] = ()
    others: tuple[Entry, ...] = ()

    @property
    def every(self) -> tuple[Entry, ...]:
        """All runs, in the order in which they are scored: original, retrained models, methods."""
        order = [*REFERENCES, ""]

        def place(entry: Entry) -> tuple[int, str]:
            method = entry.result.method
            return order.index(method if method in order else ""), entry.result.name

        return tuple(sorted(self.known + self.entries, key=place))

    def lacking(self, run: RunResult) -> list[str]:
        """Return which of the runs that another one is compared with are not here: ``original``, ``retrain``."""
        if run.method == ORIGINAL:
            return []
        needed = {"retrain", *reference_names(run.run, run.base_model, run.external)}
        # What somebody brought to start from is no run, and nothing is compared with it.
        needed |= {ORIGINAL} if _starts_from_shared(run) else set()
        return sorted(name for name in needed if self.reference(name, run) is None)

    def reference(self, name: str, run: RunResult) -> Entry | None:
        """Return the run that another one's scores are compared with, ``None`` if there is none here.

        Args:
            name: ``original``: what the run started from; or ``retrain``: the retrained model of its seed.
            run: The other run.
        """
        wanted = reference_names(run.run, run.base_model, run.external).get(name)
        for entry in self.every:
            found = entry.result
            if found.method == name and found.run.checkpoint_name == wanted:
                return entry
            if name == found.method == ORIGINAL and _starts_from_shared(run):
                return entry
        return None


def _starts_from_shared(run: RunResult) -> bool:
    """Return whether a run is from before 0.2, when one original, called like the table, served every seed."""
    return run.base_model == f"mubench/{run.run.table_name}"


def tables(entries: Iterable[Entry], known: Iterable[Entry] = (), others: Iterable[Entry] = ()) -> list[Table]:
    """Sort the runs of one submission into tables, each with the runs of others that belong to it.

    Args:
        entries: Its runs.
        known: What they may be compared with.
        others: Other submissions.
    """
    mine, theirs, elsewhere = _by_table(entries), _by_table(known), _by_table(others)
    names = {entry.result.name for runs in mine.values() for entry in runs}
    return [
        Table(
            tuple(mine[key]),
            tuple(entry for entry in theirs[key] if entry.result.name not in names),
            tuple(elsewhere[key]),
        )
        for key in sorted(mine)
    ]


def references_of(references: str, entries: Iterable[Entry]) -> list[Entry]:
    """Return the originals and retrained models of a submission.

    Args:
        references: Its id.
        entries: Runs of many.
    """
    return [entry for entry in entries if entry.submission == references and entry.result.method in REFERENCES]


def check(submission: Contents, known: Sequence[Entry] = ()) -> Iterator[Problem]:
    """Yield what keeps a submission from being taken, before its outputs are read.

    Args:
        submission: What is submitted, one submission alone.
        known: Runs on the leaderboard that hold the references, if it does not.
    """
    for left_out in submission.left_out:
        yield Problem(left_out.path, left_out.reason)
    if not submission.entries:
        yield Problem("submission", "it holds no result. Give an output folder of `mubench run`, or result files.")
    there = {entry.result.name: entry.digest for entry in known}
    for entry in submission.entries:
        if entry.references is not None and entry.result.method in REFERENCES:
            text = (
                "its submission is compared with another's originals and retrained models, and brings some of its own."
            )
            yield Problem(entry.result.name, f"{text} Bring all of them or none.")
    for table in tables(submission.entries, known):
        for entry in table.entries:
            if there.get(entry.result.name, entry.digest) != entry.digest:
                text = "the leaderboard has another result of that name. Submissions add results, they replace none."
                yield Problem(entry.result.name, text)
            yield from _files(entry)
        yield from _memory(table)
        yield from (strangers := list(_same_data(table)))
        yield from _same_originals(table)
        yield from _said_originals(table)
        yield from _references(table)
        if not strangers:  # Runs of other data belong to no group.
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
    elif entry.listed is not None and file_sha256(entry.outputs) != entry.listed:
        text = "its outputs are not those that its submission lists. Submit it anew."
        yield Problem(entry.result.name, text)
    elif entry.outputs.stat().st_size > LARGEST_OUTPUTS:
        text = f"its outputs have {entry.outputs.stat().st_size} bytes; allowed: {LARGEST_OUTPUTS}."
        yield Problem(entry.result.name, text)


def _memory(table: Table) -> Iterator[Problem]:
    size = sum(entry.outputs.stat().st_size for entry in table.every if entry.outputs is not None)
    if size > LARGEST_TABLE:
        name = table.entries[0].result.run.table_name
        yield Problem(name, f"its outputs have {size} bytes together; allowed: {LARGEST_TABLE}. Submit fewer runs.")


def _same_data(table: Table) -> Iterator[Problem]:
    first = table.every[0].result
    published = get_task(first.task).source(first.variant).deletion_sha256
    for field, what in SAME.items():
        runs = [entry.result for entry in table.every]
        expected = {"deletion_sha256": published}.get(field) or getattr(runs[0], field)
        for run in runs:
            if (found := getattr(run, field)) != expected:
                yield Problem(
                    run.name,
                    f"another {what} ({field} {found[:12]}) than the other runs' or the published one's "
                    f"({expected[:12]}). Run it with the benchmark's own data set and original.",
                )


def _same_originals(table: Table) -> Iterator[Problem]:
    """Yield the runs that say to start from one original, but not from the weights that others say it has."""
    weights: dict[str, str] = {}
    for run in (entry.result for entry in table.every):
        if run.base_model is None or run.base_revision is None:
            continue  # An original starts from nothing that was submitted.
        expected = weights.setdefault(run.base_model, run.base_revision)
        if run.base_revision != expected:
            yield Problem(
                run.name,
                f"another {run.base_model} (base_revision {run.base_revision[:12]}) than the one that other runs start "
                f"from ({expected[:12]}). Run them from one original.",
            )


def _said_originals(table: Table) -> Iterator[Problem]:
    """Yield the runs that start from another original than the one of their seed, and do not say so."""
    for run in (entry.result for entry in table.entries if entry.result.method != ORIGINAL):
        start, own = str(run.base_model).removeprefix("mubench/"), own_original(run.run, run.external)
        if not _starts_from_shared(run) and start not in (own, run.settings.get("original")):
            text = f"it starts from {start}, not from {own}, and its settings do not say so. Make it by `mubench`."
            yield Problem(run.name, text)


def _references(table: Table) -> Iterator[Problem]:
    """Yield what the scores of the submitted runs are compared with and nobody has."""
    named = table.entries[0].result.run
    where = f"{named.table_name} at {named.del_ratio}%"
    lacking = [(entry.result, table.lacking(entry.result)) for entry in table.entries]
    for name, what in (("original", "original"), ("retrain", "retrained model")):
        missing = sorted({run.seed for run, names in lacking if name in names})
        if missing:
            seeds = ", ".join(map(str, missing))
            yield Problem(where, f"no {what} of seed {seeds}, which scores are compared with. Submit the whole folder.")


def _seeds(table: Table) -> Iterator[Problem]:
    mine = {entry.result.name for entry in table.entries}
    runs = {entry.result.name: entry.result for entry in table.every}
    (groups,) = aggregate(entry.result for entry in table.every)
    for group in groups:
        if group.method == ORIGINAL or not mine.intersection(group.runs):
            continue
        # Nobody can check that a run diverged, so leaving its seed out of the mean does not count as a seed.
        seeds = sorted(runs[name].seed for name in group.runs if runs[name].status == group.averaged)
        if len(seeds) < FEWEST_SEEDS:
            found = ", ".join(map(str, seeds)) + (f"; others: {group.status}" if group.status != "ok" else "")
            yield Problem(
                f"{group.label} on {table.entries[0].result.run.table_name} at {group.del_ratio}%",
                f"{len(seeds)} seeds ({found}); at least {FEWEST_SEEDS} are needed. Run more.",
            )
