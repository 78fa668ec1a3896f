"""A submission as files of the results data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from mubench_hf.hub import Bundle
from mubench_hf.hub.allowed import CARD
from mubench_hf.hub.cards import results_card
from mubench_hf.hub.contents import check_contents
from mubench_hf.leaderboard.entries import SCORES_FOLDER, Entry, dataset_paths, run_place
from mubench_hf.leaderboard.folders import MANIFEST, SUBMISSIONS, Manifest
from mubench_hf.leaderboard.marks import MARKS
from mubench_hf.runs.result import RunResult
from mubench_hf.utils.files import file_sha256

SCORE_COLUMNS = {
    "task": "string", "variant": "string", "model": "string", "method": "string", "del_ratio": "int64", "seed": "int64",
    "status": "string", "score": "string", "value": "float64", "reason": "string", "run": "string",
}  # fmt: skip
"""Columns of the rows that ``load_dataset`` reads, and their types."""


SCORES = f"**/{SCORES_FOLDER}/*/*.jsonl"
"""Where those rows are: in submissions' folders, and where earlier versions put them."""


def score_rows(result: RunResult) -> str:
    """Return one JSON line a score of a run, in the columns ``SCORE_COLUMNS``."""
    shared = {name: getattr(result, name) for name in SCORE_COLUMNS if hasattr(result, name)} | {"run": result.name}
    rows = (
        shared | {"score": key, "value": value, "reason": result.reasons.get(key)}
        for key, value in sorted(result.scores.items())
    )
    return "".join(json.dumps({name: row[name] for name in SCORE_COLUMNS}) + "\n" for row in rows)


def manifest_of(entries: Sequence[Entry], references: str | None = None) -> Manifest:
    """Return the list of a submission's results, from which its id follows.

    Args:
        entries: Its results.
        references: Whose originals and retrained models these are compared with; ``None`` for their own.
    """
    outputs = {entry.digest: file_sha256(entry.outputs) if entry.outputs else "" for entry in entries}
    return Manifest({run_place(entry.result): (entry.digest, outputs[entry.digest]) for entry in entries}, references)


def submission_bundle(entries: Sequence[Entry], repo: str, references: str | None = None) -> Bundle:
    """Return what a submission adds to a results data set: a folder with each run's result, outputs and scores as rows.

    Args:
        entries: Its results.
        repo: The results data set.
        references: See ``manifest_of``.

    Raises:
        BadInput: If a text among the files holds a token of the Hub.
    """
    manifest = manifest_of(entries, references)
    files: dict[str, Any] = {f"{SUBMISSIONS}/{manifest.id}/{MANIFEST}": manifest.to_bytes()}
    for entry in entries:
        result, outputs, scores = dataset_paths(entry.result, manifest.id)
        files |= {result: entry.file, outputs: entry.outputs, scores: score_rows(entry.result).encode()}
    card = results_card(SCORE_COLUMNS, scores=SCORES, marks=MARKS)
    bundle = Bundle(
        "dataset",
        repo,
        {CARD: card.encode(), **dict(sorted(files.items()))},
        owns=lambda path: False,
        marker=CARD,
        same=lambda there: True,
    )
    check_contents(bundle.name, bundle.files)
    return bundle


def submission_title(entries: Sequence[Entry]) -> str:
    """Return the title of a submission's pull request: equal for equal results, so that a repeat is recognised."""
    runs = [entry.result for entry in entries]
    what = sorted({f"{run.run.table_name} at {run.del_ratio}%" for run in runs})
    digest = hashlib.sha256("".join(sorted(entry.digest for entry in entries)).encode()).hexdigest()
    return f"Results of {len(runs)} runs: {', '.join(what)} ({digest[:12]})"
