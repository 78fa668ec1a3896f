"""Published checkpoints → local folders: only files that publishing sends are fetched, at one pinned commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.hub.allowed import CARD, CONFIGS, PIPELINE_PARTS, WEIGHTS
from mubench_hf.hub.bundle import RESULT
from mubench_hf.hub.cards import OUTPUTS
from mubench_hf.hub.eval_results import EVAL_RESULTS
from mubench_hf.hub.retries import Retries, refusal
from mubench_hf.runs.plan import RECIPE
from mubench_hf.runs.record import RECORD
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_result

FETCHED = (
    *(CARD, RECORD, RECIPE, RESULT, OUTPUTS, EVAL_RESULTS, "plots/*.png", *WEIGHTS, *CONFIGS),
    *(f"{part}/{name}" for part in PIPELINE_PARTS for name in (*WEIGHTS, *CONFIGS)),
)
"""Patterns of the files that are fetched: the ones that publishing allows, so never a pickle or code."""

_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@(\S+))?")


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return a local folder that holds a checkpoint, fetching a published one.

    Args:
        name: A folder, or a repository ``org/name`` or ``org/name@revision``.
        revision: Branch, tag or commit of the repository; default: its newest.

    Returns:
        The folder as it was given, or one in the cache of ``huggingface_hub`` whose name is the full commit hash of
        what was fetched.

    Raises:
        BadInput: If it is neither, a folder is given with a revision, the repository or revision is not there or is no
            checkpoint of this benchmark, or the Hub cannot be reached and the cache lacks it.
    """
    if Path(name).is_dir():
        if revision:
            raise BadInput(f"{name} is a folder, which has no revision {revision!r}. Leave the revision out.")
        return Path(name)
    repo, revision = split_name(str(name), revision)

    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError, RepositoryNotFoundError

    with _clear_errors(repo, revision):
        try:
            # Whatever else a repository holds is not fetched before it is known to be a checkpoint.
            commit = Path(_ask(hf_hub_download, repo, RECORD, revision=revision)).parent.name
            return Path(_ask(snapshot_download, repo, revision=commit, allow_patterns=list(FETCHED)))
        except RepositoryNotFoundError as error:
            raise BadInput(
                f"There is no folder {name}, and no model {repo} on the Hub that this token may read. "
                "Check the name, or run `hf auth login`."
            ) from error
        except RemoteEntryNotFoundError as error:
            raise BadInput(f"{repo} has no {RECORD}, so it is not a checkpoint of this benchmark.") from error
        except LocalEntryNotFoundError as error:
            raise BadInput(
                f"There is no folder {name}, and HF_HUB_OFFLINE is set while the cache lacks {repo}. Unset it."
            ) from error


def published_result(repo: str) -> RunResult | None:
    """Return the scores that a published checkpoint states, without fetching its weights.

    Args:
        repo: Repository ``org/name``.

    Returns:
        Its ``run_result.json``; ``None`` if there is no such repository or file, or HF_HUB_OFFLINE is set and the
        cache lacks it.

    Raises:
        BadInput: If what is there is no valid result, or the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    with _clear_errors(repo, None):
        try:
            return load_result(_ask(hf_hub_download, repo, RESULT, revision=None))
        except (EntryNotFoundError, RepositoryNotFoundError):
            return None


def _ask(call: Callable[..., str], *args: Any, **kwargs: Any) -> str:
    """Fetch something, again where the Hub is busy; without a Hub to ask, from the cache."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return call(*args, **kwargs)
    return Retries(constants.ENDPOINT).ask(call, *args, **kwargs)


@contextmanager
def _clear_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Turn what fetching from a repository may end with into one clear line."""
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    try:
        yield
    except RevisionNotFoundError as error:
        raise BadInput(f"{repo} has no revision {revision!r}. Give a branch, a tag or a full commit hash.") from error
    except HfHubHTTPError as error:
        raise refusal(f"{repo} cannot be fetched", error) from error
    except OSError as error:
        raise BadInput(f"{repo} cannot be kept: {error}. Make room, or set HF_HOME to a folder elsewhere.") from error


def split_name(name: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return the repository and the revision of ``org/name`` or ``org/name@revision``.

    Raises:
        BadInput: If it is no such name, or names a revision other than the one given.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    found = _REPOSITORY.fullmatch(name)
    try:
        validate_repo_id(found[1] if found else "")
    except HFValidationError as error:
        raise BadInput(
            f"{name!r} is neither a folder nor the name of a repository, org/name or org/name@revision."
        ) from error
    repo, named = found.groups()
    if named and revision and named != revision:
        raise BadInput(f"{name} names one revision, and {revision!r} is another. Give one of them.")
    return repo, named or revision
