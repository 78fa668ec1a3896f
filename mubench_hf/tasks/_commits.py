"""The commit of a Hub's data set that a build reads: looked up once, used for every file, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

T = TypeVar("T")

_read: dict[str, str | None] = {}
"""Data set → the commit that its rows were read at, where several branches were tried."""


def read_first(repo: str, branches: Sequence[str | None], load: Callable[[str | None, str | None], T]) -> T:
    """Return what is read from the first branch of a data set that can be read, at its commit now.

    Args:
        repo: Its name, ``org/name``.
        branches: Branches in the order in which they are tried; ``None`` is the main one.
        load: Called with a branch and its commit; raises if there are no rows that can be read.

    Raises:
        Exception: What ``load`` raised for the last branch.
    """
    for branch in branches:
        commit = dataset_commit(repo, branch)
        try:
            found = load(branch, commit)
        except Exception:  # datasets has an error of its own for each way in which files can be laid out.
            if branch == branches[-1]:
                raise
            continue
        _read[repo] = commit
        return found
    raise ValueError("no branch is named")


def commit_read(repo: str) -> str | None:
    """Return the commit that ``read_first`` read; ``None`` if it has not."""
    return _read.get(repo)


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
