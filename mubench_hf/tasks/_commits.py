"""The commit of a Hub's data set that a build reads: looked up once, used for every file, and recorded."""

from __future__ import annotations

from functools import cache


@cache
def dataset_commit(repo: str, revision: str | None = None) -> str | None:
    """Return the full hash of a data set's commit.

    Args:
        repo: Its name, ``org/name``.
        revision: Branch; default: the main one.

    Returns:
        The same at every call of a process. If the Hub cannot be asked, the branch, for what a cache holds of it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # The error is that of its HTTP client, whichever it is.

    try:
        return HfApi().dataset_info(repo, revision=revision).sha
    except (HTTPError, OSError):
        return revision
