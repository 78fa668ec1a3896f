"""Run results in a folder: what may be read is read within bounds, what may not is left out with the reason."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.leaderboard.folders import FLAT, MANIFEST, SUBMISSIONS, Manifest, submission_of
from mubench_hf.leaderboard.marks import MARKS, read_marks
from mubench_hf.metrics import metrics_by_score, score_metric
from mubench_hf.models import check_fits, get_model
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.result import RunResult
from mubench_hf.tasks import get_task
from mubench_hf.trainers import get_method
from mubench_hf.utils.files import file_sha256

LARGEST_RESULT = 256 * 1024
"""Bytes of one result file; those of the benchmark have a few thousand."""

MOST_RESULTS = 20_000
"""Result files of one folder."""

MOST_SCORES, SCORE_NAME = 200, re.compile("[A-Za-z0-9_]{1,60}")
"""Scores of one result, and their names: each may be a column of its table."""

LONGEST_SETTINGS = 4_000
"""Characters of what differs from the preset, as JSON: it stands beside the method in tables."""

REGISTERED_ALONE = (
    "The leaderboard has tables of registered tasks at deletion ratios alone; `mubench table` shows any run."
)

RUNS_FOLDER, OUTPUTS_FOLDER, SCORES_FOLDER = "runs", "outputs", "scores"
"""Folders of the results data set: results, the outputs they are computed from, and their scores as plain rows."""

PLACES = (
    "*.json", "results/*.json", "*/results/*.json", f"{RUNS_FOLDER}/*/*.json", f"{SUBMISSIONS}/*/{RUNS_FOLDER}/*/*.json"
)  # fmt: skip
"""Where result files lie: in a folder of results, an output folder, a folder of those; in the results data set, beside
each other, as earlier versions put them, or in a submission's folder."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not read as a result.

    Attributes:
        path: The file, relative to the folder that was read.
        reason: Why; it may quote the file.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One result with its files.

    Attributes:
        result: The result.
        file: Its JSON.
        digest: SHA-256 of that file.
        outputs: The npz with the outputs, ``None`` if it is not here.
        verified: Whether maintainers recomputed the scores of exactly these two files.
        submission: Id of the submission that it belongs to, ``FLAT`` if it lies in none's folder.
        references: Whose originals and retrained models it is compared with; ``None`` for its own submission's.
        listed: SHA-256 of its outputs as its submission lists it; ``None`` if it lies in none's folder.
    """

    result: RunResult
    file: Path
    digest: str
    outputs: Path | None
    verified: bool = False
    submission: str = FLAT
    references: str | None = None
    listed: str | None = None

    @property
    def key(self) -> str:
        """What marks and messages call it: the run's name, after its submission's id if it has one."""
        return f"{self.submission}/{self.result.name}" if self.submission else self.result.name

    @property
    def compared_with(self) -> str:
        """Id of the submission whose originals and retrained models it is compared with."""
        return self.submission if self.references is None else self.references


@dataclass(frozen=True)
class Contents:
    """What a folder or a results data set holds.

    Attributes:
        entries: Its results, each run of a submission once, sorted by submission and name.
        left_out: Files that are no valid results.
    """

    entries: tuple[Entry, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default=())


def dataset_paths(result: RunResult, submission: str = FLAT) -> tuple[str, str, str]:
    """Return where the results data set keeps a run's result, its outputs and its scores as rows.

    Args:
        result: The result.
        submission: Id of its submission.
    """
    folder, place = f"{SUBMISSIONS}/{submission}/" if submission else "", run_place(result)
    endings = {RUNS_FOLDER: "json", OUTPUTS_FOLDER: "npz", SCORES_FOLDER: "jsonl"}
    runs, outputs, scores = (f"{folder}{name}/{place}.{ending}" for name, ending in endings.items())
    return runs, outputs, scores


def run_place(result: RunResult) -> str:
    """Return what a manifest calls a run: its data set and its name."""
    return f"{result.run.dataset_name}/{result.name}"


def read_folder(folder: Path | str, elsewhere: Mapping[str, str] | None = None, *, links: bool = False) -> Contents:
    """Read every result of a folder, in any of ``PLACES``.

    Args:
        folder: An output folder of ``mubench run``, a folder of such, a folder of results, or a results data set.
        elsewhere: Path → SHA-256 of outputs that belong to the folder but are kept elsewhere.
        links: Whether links are followed, as in the cache of the Hub's client; else one may lead anywhere.

    Raises:
        BadInput: If there is no such folder, or its marks cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}. Give an output folder of `mubench run` or a results data set.")
    marks, found, left_out = read_marks(folder), {}, []
    manifests: dict[str, Manifest] = {}
    for number, file in enumerate(_files(folder, links)):
        path = file.relative_to(folder).as_posix()
        try:
            if number >= MOST_RESULTS:
                raise BadInput(f"The folder has more than {MOST_RESULTS} results; the others are not read.")
            content = _bounded(file)
            digest, manifest = hashlib.sha256(content).hexdigest(), None
            if submission := submission_of(path):
                manifest = manifests.get(submission) or Manifest.read(folder / SUBMISSIONS / submission)
                manifests[submission] = manifest
            result = check_known(_parsed(content))
            if file.stem != result.name:
                raise BadInput(f"It holds the run {result.name} and must be named {result.name}.json.")
            stated = manifest.runs.get(run_place(result), ("", "")) if manifest else (digest, None)
            if stated[0] != digest:
                raise BadInput(f"The submission {submission} does not list it, or it was changed. Submit it anew.")
            if (submission, result.name) in found:
                raise BadInput(f"The run {result.name} is there twice; this copy is not read.")
        except BadInput as error:
            left_out.append(LeftOut(path, str(error)))
            if number >= MOST_RESULTS:
                break
            continue
        outputs = _outputs(folder, file, dataset_paths(result, submission)[1], links)
        references = manifest.references if manifest else None
        entry = Entry(result, file, digest, outputs, submission=submission, references=references, listed=stated[1])
        mark = marks.get(entry.key)
        # Outputs are large: they are hashed only where a mark says what the hash should be.
        held = _digest(outputs, dataset_paths(result, submission)[1], elsewhere or {}) if mark else None
        found[submission, result.name] = replace(entry, verified=mark is not None and mark == (digest, held))
    return Contents(tuple(found[key] for key in sorted(found)), tuple(left_out))


def by_age(entry: Entry) -> tuple[bool, str, str]:
    """Return the order in which results of several submissions are believed: verified ones first."""
    return not entry.verified, entry.submission, entry.result.name


def check_known(result: RunResult) -> RunResult:
    """Return a result if it is of a run that can be shown: of a known task, and what else is unknown is said to be.

    Raises:
        BadInput: If the task is not registered, or rows were named in place of a deletion ratio; model or method is
            neither registered nor from outside, as the result's ``external`` says; the model is not for the task; a
            score lies outside its metric's range; or settings or scores are too many to be shown.
    """
    _check_shown(result)
    if origin := result.external.get("task"):
        raise BadInput(f"Its task came from outside ({origin['name']}). {REGISTERED_ALONE}")
    if result.del_ratio is None:
        raise BadInput(f"Its rows to forget were named, so they are no percentage. {REGISTERED_ALONE}")
    task = get_task(result.task)
    if "model" not in result.external:
        check_fits(task, get_model(result.model))
    if result.method != ORIGINAL and "method" not in result.external:
        get_method(result.method)
    known = metrics_by_score()
    if len(result.scores) > MOST_SCORES:
        raise BadInput(f"It has {len(result.scores)} scores; at most {MOST_SCORES} are shown. Give fewer.")
    for key, value in result.scores.items():
        if not SCORE_NAME.fullmatch(key):
            raise BadInput(f"A score is called {key[:60]!r}; allowed: up to 60 letters, digits and _. Rename it.")
        metric = score_metric(key, known)
        if value is None or metric is None:
            continue
        low, high = metric.range
        if not low <= value <= high:
            raise BadInput(f"Score {key!r} is {value}; allowed: {low:g} to {high:g}.")
    return result


def _check_shown(result: RunResult) -> None:
    """Check what tables show of a result beside its scores."""
    length = len(json.dumps([result.settings, result.external, result.metrics]))
    if length > LONGEST_SETTINGS:
        raise BadInput(f"Its settings have {length} characters; at most {LONGEST_SETTINGS} are shown.")
    for part, origin in (*result.external.items(), *result.metrics.items()):
        if not isinstance(origin, dict) or not all(isinstance(origin.get(key), str) for key in ("name", "sha256")):
            raise BadInput(f"{part} is from outside and said to be {origin!r}; needed are its name and sha256.")
    if not isinstance(result.settings.get("original", ""), str):
        raise BadInput(f"Setting 'original' is {result.settings['original']!r}; it is the name of a checkpoint.")


def _files(folder: Path, links: bool) -> Iterator[Path]:
    for place in PLACES:
        files = (file for file in folder.glob(place) if file.is_file() and not file.name.startswith("."))
        results = (file for file in files if file.name not in (MARKS, MANIFEST))
        yield from sorted(file for file in results if links or not _is_link(folder, file))


def _is_link(folder: Path, file: Path) -> bool:
    """Return whether a file, or a folder between it and ``folder``, is a link."""
    parts = file.relative_to(folder).parts
    return any(folder.joinpath(*parts[: depth + 1]).is_symlink() for depth in range(len(parts)))


def _bounded(file: Path) -> bytes:
    size = file.stat().st_size
    if size > LARGEST_RESULT:
        raise BadInput(f"It has {size} bytes; a result has at most {LARGEST_RESULT}.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"It cannot be read: {error.strerror}.") from error


def _parsed(content: bytes) -> RunResult:
    try:
        return RunResult.from_json(content.decode())
    except UnicodeDecodeError as error:
        raise BadInput("It is no UTF-8 text.") from error


def _outputs(folder: Path, file: Path, path: str, links: bool) -> Path | None:
    in_dataset = file.relative_to(folder).parts[0] in (RUNS_FOLDER, SUBMISSIONS)
    place = folder / path if in_dataset else file.with_suffix(".npz")
    return place if place.is_file() and (links or not _is_link(folder, place)) else None


def _digest(outputs: Path | None, path: str, elsewhere: Mapping[str, str]) -> str | None:
    return file_sha256(outputs) if outputs else elsewhere.get(path)
