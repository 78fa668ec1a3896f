"""Stated scores of a submission recomputed from its outputs, and the first thing that does not agree.

Seconds are stated by whoever ran the method: they cannot be recomputed, only taken over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mubench_hf.data.build import build
from mubench_hf.data.loading import load_manifest
from mubench_hf.errors import BadInput
from mubench_hf.leaderboard.checks import Problem, Table, check, references_of, tables
from mubench_hf.leaderboard.entries import Contents, Entry, by_age
from mubench_hf.leaderboard.folders import FLAT, submission_of
from mubench_hf.leaderboard.originals import implausible
from mubench_hf.leaderboard.outputs import differences, is_copy, read_outputs, unlike_data, unlike_table
from mubench_hf.metrics.parameters import REFERENCES, every_source, outputs_of
from mubench_hf.runs.agreement import LAST_DIGITS, UNKNOWN, WRONG, check_scores, external_scores
from mubench_hf.runs.choice import behind
from mubench_hf.runs.cost import COMPUTE, WALL, not_comparable
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.references import on_same_rows
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Reasons, Scores, Source, score
from mubench_hf.tasks import get_task

TIMES = "Times (seconds, processor seconds and their ratio to retraining) are as stated: nothing can recompute them."


@dataclass
class Verdict:
    """What verification found.

    Attributes:
        problems: What does not agree, in the order in which it was found; empty if all does.
        compared: ``Entry.key`` → how many of its stated scores were recomputed and compared.
        verified: Runs whose scores were recomputed and agree, and whose labels are those of the data set.
        notes: What could not be checked, and why.
    """

    problems: list[Problem] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)
    verified: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """How much was compared, in one line."""
        count, runs = sum(self.compared.values()), len(self.compared)
        return f"{count} stated scores of {runs} runs were recomputed from their outputs, and agree."


def verify_submission(submission: Contents, known: Sequence[Entry] = (), data: Path | None = None) -> Verdict:
    """Check submissions, each by itself, and recompute every score that they state.

    Args:
        submission: What is submitted, with its outputs; or a results data set with many submissions.
        known: Runs that are on the leaderboard: they may be the references, whose stated scores are then used.
        data: Folder that data sets were built in. Mini data sets that it lacks are built anew elsewhere.

    Returns:
        The verdict. Scores of a submission are recomputed only where everything before that agrees, and what keeps it
        from being taken says nothing of others.
    """
    verdict, believed = Verdict(notes=[TIMES]), list[Entry]()
    entries, parts = submission.entries, {submission_of(left.path) for left in submission.left_out}
    ages = {entry.submission: by_age(entry)[:2] for entry in sorted(entries, key=by_age, reverse=True)}
    with TemporaryDirectory() as made:
        for name in sorted(parts | ages.keys(), key=lambda name: ages.get(name, (True, name))) or [FLAT]:
            mine = tuple(entry for entry in entries if entry.submission == name)
            part = Contents(mine, tuple(left for left in submission.left_out if submission_of(left.path) == name))
            found = _verify_one(part, known, entries, believed, data, Path(made))
            # What is refused accuses nobody, and who came first is not judged by who came later.
            believed += () if found.problems else mine
            verdict.problems += [replace(problem, submission=name) for problem in found.problems]
            verdict.notes += [note for note in found.notes if note not in verdict.notes]
            verdict.compared |= found.compared
            verdict.verified += found.verified
    return verdict


def _verify_one(
    submission: Contents,
    known: Sequence[Entry],
    entries: Sequence[Entry],
    before: Sequence[Entry],
    data: Path | None,
    made: Path,
) -> Verdict:
    """Return the verdict on one submission.

    Args:
        submission: The submission.
        known: See ``verify_submission``.
        entries: All runs, of which some may be its references.
        before: Runs of submissions that came before it and can be taken.
        data: See ``verify_submission``.
        made: Where data sets are built that it lacks.
    """
    if references := {entry.references for entry in submission.entries if entry.references is not None}:
        known = references_of(references.pop(), [*entries, *known])
    verdict = Verdict(problems=list(check(submission, known)))
    if verdict.problems:
        return verdict
    for table in tables(submission.entries, known, before):
        outputs = {}
        try:
            for entry in table.every:
                if entry.outputs is not None:
                    outputs[entry.result.name] = read_outputs(entry.outputs, entry.result.status)
        except BadInput as error:
            verdict.problems.append(Problem(entry.result.name, str(error)))
            continue
        out = _data_folder(table, data, made)
        found = [
            *_against_each_other(table, outputs),
            *_against_others(table, outputs),
            *(_against_data(table, outputs, out) if out else ()),
        ]
        verdict.problems += found
        recomputed = [] if found else _against_scores(table, outputs, verdict)
        if out:
            verdict.verified += recomputed
        else:
            name = table.entries[0].result.run.dataset_name
            verdict.notes.append(
                f"Labels of {name} were not compared with the data set, so its runs are not marked verified. Build it "
                "and give its folder as --data."
            )
    if verdict.problems:
        verdict.verified = []
    return verdict


def _against_others(table: Table, outputs: dict[str, dict[str, np.ndarray]]) -> Iterator[Problem]:
    """Yield each run whose outputs are those of another submission's run, which are read one after the other."""
    rng, waiting = np.random.default_rng(), {entry.result.name: entry for entry in table.entries}
    for other in table.others:
        try:
            theirs = read_outputs(other.outputs, other.result.status) if other.outputs else None
        except BadInput:
            continue  # That is for the other submission to answer.
        for name, entry in list(waiting.items()):
            if entry.digest == other.digest and entry.result.method not in REFERENCES:
                text = "it is that result, byte for byte. Submit what you ran yourself."
            elif theirs is None or _same_run(entry.result, other.result) or unlike_table(outputs[name], theirs):
                continue
            elif is_copy(outputs[name], theirs, rng, related=_share_weights(entry.result, other.result)):
                text = "its logits are that run's own, row by row: they are of another model than the result says."
            else:
                continue
            del waiting[name]
            yield Problem(name, f"compared with {other.key}: {text}")


def _same_run(run: RunResult, other: RunResult) -> bool:
    """Return whether two submissions' runs are of one name and start: the same code then gives the same bits."""
    return run.name == other.name and run.base_revision == other.base_revision


def _share_weights(run: RunResult, other: RunResult) -> bool:
    """Return whether two runs say to start from the same weights."""
    return "retrain" not in (run.method, other.method) and None is not run.base_revision == other.base_revision


def _against_each_other(table: Table, outputs: dict[str, dict[str, np.ndarray]]) -> Iterator[Problem]:
    """Yield, of each run that does not go with an earlier one, the worst way in which it does not."""
    runs = [entry.result for entry in table.every if entry.result.name in outputs]
    rng = np.random.default_rng()  # Nobody can know which rows are compared.
    for number, run in enumerate(runs):
        mine, others = outputs[run.name], [(other, outputs[other.name]) for other in runs[:number]]
        found = [(other, unlike_table(mine, theirs)) for other, theirs in others]
        if not any(text for _, text in found):
            copied = "its logits are that run's own, row by row: they are of another model than the result says"
            copies = [_is_copy(run, mine, other, theirs, rng) for other, theirs in others]
            found = [(other, copied if copy else None) for (other, _), copy in zip(others, copies, strict=True)]
            found += [(other, _unshared(run, mine, other, theirs)) for other, theirs in others]
        for other, text in [(other, text) for other, text in found if text][:1]:
            yield Problem(run.name, f"compared with {other.name}: {text}. Evaluate the run again.")


def _is_copy(
    run: RunResult,
    mine: dict[str, np.ndarray],
    other: RunResult,
    theirs: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> bool:
    starts = [
        f"mubench/{each.run.checkpoint_name}" if each.method == ORIGINAL else each.base_model for each in (run, other)
    ]
    # A retrained model comes from no other; methods that start from one model may be close to it and to each other.
    related = starts[0] == starts[1] and "retrain" not in (run.method, other.method)
    if related and "diverged" in (run.status, other.status):
        return False  # A run whose first loss is too large ends with the weights that it began with.
    return is_copy(mine, theirs, rng, related=related)


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


def _against_scores(table: Table, outputs: dict[str, dict[str, np.ndarray]], verdict: Verdict) -> list[Entry]:
    """Compare the scores that runs state with those that their outputs give; return the runs that were compared.

    The first score of a run that differs is a problem; a run of which something is not known here is a note.
    """
    # Originals are compared with retrained models too, but those models' scores do not come from the originals'.
    originals = [entry for entry in table.every if entry.result.method == ORIGINAL]
    recomputed: dict[str, tuple[Scores, Reasons]] = {}
    unknown: dict[str, str] = {}
    asked = behind(key for entry in table.entries for key in entry.result.scores)
    for entry in (*table.every, *originals):
        run = entry.result
        recomputed.setdefault(run.name, (run.scores, run.reasons))
        if run.name not in outputs:
            continue
        found = {name: table.reference(name, run) for name in REFERENCES}
        try:
            recomputed[run.name] = score(
                outputs[run.name],
                metrics=get_task(run.task).metrics,
                method=run.method,
                seed=run.seed,
                seconds=run.scores.get(WALL),
                compute_seconds=run.scores.get(COMPUTE),
                # Earlier versions recorded no load and compared times all the same.
                times_differ=not_comparable(run, found["retrain"].result if found["retrain"] else None)
                if run.cost
                else None,
                asked=asked,
                sources=_kept(run, found, outputs),
                **{name: recomputed[each.result.name][0] for name, each in found.items() if _is_in(each, recomputed)},
            )
        except BadInput as error:
            unknown[run.name] = str(error)
    chance = {name: float(arrays["chance"]) for name, arrays in outputs.items()}
    verdict.problems += implausible(table, {name: scores for name, (scores, _) in recomputed.items()}, chance)
    compared = []
    for entry in table.entries:
        run = entry.result
        if run.name in unknown:
            verdict.notes.append(f"{run.name} was not recomputed and is not marked verified: {unknown[run.name]}")
            continue
        found = {name: table.reference(name, run) for name in REFERENCES}
        checks = check_scores(
            run,
            *recomputed[run.name],
            tolerance=LAST_DIGITS,
            # Whether the references' scores are here was checked; what else metrics read may not be.
            missing=every_source() - {*REFERENCES, outputs_of(run.method)} - _kept(run, found, outputs).keys(),
            outside=external_scores(run),
        )
        verdict.problems += [Problem(run.name, str(each)) for each in checks if each.agrees == WRONG or each.withheld][
            :1
        ]
        if skipped := [each for each in checks if each.agrees == UNKNOWN and not each.withheld]:
            why = "; ".join(f"{each.key} ({each.note})" for each in skipped)
            verdict.notes.append(f"{run.name}: not recomputed, and so the run is not marked verified: {why}")
        else:
            compared.append(entry)
        verdict.compared[entry.key] = sum(each.recomputed for each in checks)
    return compared


def _kept(
    run: RunResult, references: Mapping[str, Entry | None], outputs: Mapping[str, dict[str, np.ndarray]]
) -> dict[str, Source]:
    """Return the outputs of those runs that another is compared with and that are here, as sources of metrics."""
    there = {name: entry.result.name for name, entry in references.items() if _is_in(entry, outputs)}
    return {
        outputs_of(name): on_same_rows(outputs[run.name], name, partial(outputs.__getitem__, run_name))
        for name, run_name in there.items()
    }


def _is_in(entry: Entry | None, recomputed: Mapping[str, object]) -> bool:
    return entry is not None and entry.result.name in recomputed
