"""Scores of a submission recomputed from its outputs, and the first thing that does not agree.

Seconds are stated by whoever ran the method: they cannot be recomputed, only taken over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mubench_hf.data.build import build
from mubench_hf.data.loading import load_manifest
from mubench_hf.errors import BadInput
from mubench_hf.leaderboard.checks import Problem, Table, check, tables
from mubench_hf.leaderboard.entries import Contents, Entry
from mubench_hf.leaderboard.outputs import differences, is_copy, read_outputs, unlike_data, unlike_table
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Scores, score
from mubench_hf.tasks import get_task

TOLERANCE = 1e-6
"""How far a recomputed score may lie from the stated one: another processor's last digits."""

TIMES = "Times (unlearn_seconds, and retrain_time_ratio made of them) are as stated: nothing can recompute them."


@dataclass
class Verdict:
    """What verification found.

    Attributes:
        problems: What does not agree, in the order in which it was found; empty if all does.
        verified: Runs whose scores were recomputed and agree.
        notes: What could not be checked, and why.
    """

    problems: list[Problem] = field(default_factory=list)
    verified: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(submission: Contents, known: Sequence[Entry] = (), data: Path | None = None) -> Verdict:
    """Check a submission and recompute every score of it.

    Args:
        submission: What is submitted, with its outputs.
        known: Runs that are on the leaderboard: they may be the references, whose stated scores are then used.
        data: Folder that data sets were built in. Mini data sets that it lacks are built anew elsewhere.

    Returns:
        The verdict. Scores are recomputed only where everything before that agrees.
    """
    verdict = Verdict(problems=list(check(submission, known)), notes=[TIMES])
    if verdict.problems:
        return verdict
    for table in tables(submission.entries, known):
        outputs = {}
        try:
            for entry in table.every:
                if entry.outputs is not None:
                    outputs[entry.result.name] = read_outputs(entry.outputs)
        except BadInput as error:
            verdict.problems.append(Problem(entry.result.name, str(error)))
            continue
        with TemporaryDirectory() as made:
            out = _data_folder(table, data, Path(made))
            found = [*_against_each_other(table, outputs), *(_against_data(table, outputs, out) if out else ())]
        verdict.problems += found or _against_scores(table, outputs)
        if out:
            verdict.verified += table.entries
        else:
            name = table.entries[0].result.run.dataset_name
            verdict.notes.append(
                f"Labels of {name} were not compared with the data set, so its runs are not marked verified. Build it "
                "and give its folder as --data."
            )
    if verdict.problems:
        verdict.verified = []
    return verdict


def _against_each_other(table: Table, outputs: dict[str, dict[str, np.ndarray]]) -> Iterator[Problem]:
    """Yield, of each run that does not go with an earlier one, the worst way in which it does not."""
    runs = [entry.result for entry in table.every if entry.result.name in outputs]
    for number, run in enumerate(runs):
        mine, others = outputs[run.name], [(other, outputs[other.name]) for other in runs[:number]]
        found = [(other, unlike_table(mine, theirs)) for other, theirs in others]
        if not any(text for _, text in found):
            copied = "its logits are that run's own, row by row: they are of another model than the result says"
            found = [(other, copied if is_copy(mine, theirs) else None) for other, theirs in others]
            found += [(other, _unshared(run, mine, other, theirs)) for other, theirs in others]
        for other, text in [(other, text) for other, text in found if text][:1]:
            yield Problem(run.name, f"compared with {other.name}: {text}. Evaluate the run again.")


def _unshared(
    run: RunResult, mine: dict[str, np.ndarray], other: RunResult, theirs: dict[str, np.ndarray]
) -> str | None:
    keys = list(differences(mine, theirs, same_seed=run.seed == other.seed))
    return f"its {', '.join(keys)} must be the same and are not" if keys else None


def _data_folder(table: Table, data: Path | None, made: Path) -> Path | None:
    """Return the folder that the table's data set is built in, ``None`` for full data that are not built."""
    run = table.entries[0].result
    out = data if data is not None and (data / "mubench" / run.run.dataset_name).is_dir() else made
    if run.variant == "mini":
        build(get_task(run.task), variant="mini", out=out, progress=False)
    return out if run.variant == "mini" or out == data else None


def _against_data(table: Table, outputs: dict[str, dict[str, np.ndarray]], out: Path) -> Iterator[Problem]:
    """Yield the first run that is not of the rows of its data set."""
    first = table.entries[0].result
    manifest = load_manifest(get_task(first.task), variant=first.variant, out=out)
    expected = (manifest["fingerprint"], manifest["deletion_list"]["sha256"])
    for entry in table.entries:
        run = entry.result
        if (run.data_fingerprint, run.deletion_sha256) != expected:
            unlike = (
                f"data_fingerprint or deletion_sha256 is not that of {run.run.dataset_name} as this version builds it"
            )
        else:
            unlike = unlike_data(run, outputs[run.name], out)
        if unlike is not None:
            yield Problem(run.name, f"compared with the data set: {unlike}. Evaluate the run with these data.")
            return


def _against_scores(table: Table, outputs: dict[str, dict[str, np.ndarray]]) -> Iterator[Problem]:
    """Yield the first score of each run that is not the one its outputs give."""
    # Originals are compared with retrained models too, but those models' scores do not come from the originals'.
    originals = [entry for entry in table.every if entry.result.method == "original"]
    recomputed: dict[str, Scores] = {}
    for entry in (*table.every, *originals):
        run = entry.result
        if run.name not in outputs:
            recomputed[run.name] = run.scores
            continue
        original, retrain = table.reference("original", run), table.reference("retrain", run)
        recomputed[run.name], _ = score(
            outputs[run.name],
            metrics=get_task(run.task).metrics,
            method=run.method,
            seed=run.seed,
            seconds=run.scores.get("unlearn_seconds"),
            original=recomputed.get(original.result.name) if original else None,
            retrain=recomputed.get(retrain.result.name) if retrain else None,
        )
    for entry in table.entries:
        difference = first_difference(entry.result, recomputed[entry.result.name])
        if difference:
            yield Problem(entry.result.name, difference)


def first_difference(run: RunResult, recomputed: Scores) -> str | None:
    """Return the first score, by name, that is not the recomputed one: its name, what is stated and what it is."""
    for key in sorted(run.scores.keys() | recomputed.keys()):
        stated, found = run.scores.get(key), recomputed.get(key)
        if stated is None and found is None:
            continue
        if stated is None or found is None or not math.isclose(stated, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            return f"score {key}: stated {stated}, recomputed {found}."
    return None
