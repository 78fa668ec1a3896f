"""Results from a folder or from a results data set on the Hub."""

from __future__ import annotations

import math
import re
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.leaderboard.entries import (
    LARGEST_RESULT,
    OUTPUTS_FOLDER,
    RUNS_FOLDER,
    Contents,
    LeftOut,
    read_folder,
)
from mubench_hf.leaderboard.folders import LARGEST_MANIFEST, MANIFEST, submission_of
from mubench_hf.leaderboard.marks import MARKS
from mubench_hf.runs.store import Results
from mubench_hf.runs.store import load_results as load_folder

RESULTS = "mubench/results"
"""The results data set of the leaderboard."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def read_results(where: Path | str, revision: str | None = None) -> Contents:
    """Read all results of a folder, or of a data set on the Hub without its outputs, which may be large.

    Args:
        where: A folder, or ``org/name`` of a data set.
        revision: Branch, tag or commit on the Hub; a folder has none.

    Raises:
        BadInput: If there is neither, or the Hub does not answer.
    """
    if Path(where).is_dir():
        return read_folder(where)
    if not _REPO.fullmatch(str(where)):
        raise BadInput(f"There is no folder {where}, and it is no name of a data set such as {RESULTS}.")
    return _read_hub(str(where), revision)


def load_results(where: Path | str, revision: str | None = None) -> Results:
    """Load results of runs.

    Args:
        where: An output folder of ``mubench run``, a folder of results, or a results data set on the Hub, ``org/name``.
        revision: Branch, tag or commit on the Hub; a folder has none.

    Returns:
        The results, sorted; ``to_pandas()`` makes a table of them. On the Hub, files that are no valid results are left
        out, as they may be anybody's.

    Raises:
        BadInput: If there is neither, the Hub does not answer, or a file of a folder is not a valid result.
    """
    if Path(where).is_dir():
        return load_folder(where)
    return Results(entry.result for entry in read_results(where, revision).entries)


def _read_hub(repo: str, revision: str | None) -> Contents:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        api = HfApi()
        head = api.repo_info(repo, repo_type="dataset", revision=revision).sha
        entries = list(api.list_repo_tree(repo, repo_type="dataset", revision=head, recursive=True))
        files = {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}
        elsewhere = {path: entry.lfs.sha256 for path, entry in files.items() if entry.lfs}
        # Outputs that the Hub does not name by their SHA-256 are small enough to be fetched and hashed here.
        wanted = [path for path in files if _is_read(path) and path not in elsewhere]
        most = {RUNS_FOLDER: LARGEST_RESULT, MANIFEST: LARGEST_MANIFEST}
        too_large = [path for path in wanted if files[path].size > most.get(_part(path), math.inf)]
        wanted = [path for path in wanted if path not in too_large]
        # Without any pattern everything would be fetched.
        folder = snapshot_download(repo, repo_type="dataset", revision=head, allow_patterns=wanted or [MARKS])
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, HFValidationError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInput(f"The data set {repo} cannot be read from the Hub: {lines[0]}") from error
    contents = read_folder(folder, elsewhere, links=True)
    refused = [LeftOut(path, f"Such a file has at most {most[_part(path)]} bytes.") for path in too_large]
    return Contents(contents.entries, (*contents.left_out, *refused))


def _is_read(path: str) -> bool:
    return path == MARKS or _part(path) in (RUNS_FOLDER, OUTPUTS_FOLDER, MANIFEST)


def _part(path: str) -> str:
    """Return the folder that a file lies in, of the data set or of a submission in it."""
    parts = path.split("/")
    return parts[2] if submission_of(path) else parts[0]
