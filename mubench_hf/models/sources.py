"""Where models and processors are read from: a folder, or a Hub repository of which one commit serves for everything.

Nothing that is fetched is code, and nothing that is read asks for any. Weights are safetensors; only a pretrained base
that has none is read from PyTorch's own format, by its weights-only loader.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.utils.files import disk_is_full

WHOLE, SHARDS = "model.safetensors", "model-*-of-*.safetensors"
PICKLED = "pytorch_model*.bin"
PARTS = ("unet", "text_encoder", "vae")
"""Folders of a pipeline whose weights are read; it may hold more, such as a safety checker of over a gigabyte."""

FETCHED = ("*.json", "*.txt", "*.model", "*.jinja", WHOLE, SHARDS, "adapter_model.safetensors",
           *(f"{part}/{file}" for part in PARTS
             for file in (WHOLE, SHARDS, f"diffusion_pytorch_{WHOLE}", f"diffusion_pytorch_{SHARDS}")))  # fmt: skip
"""Patterns of the files that are fetched of a repository: configurations, vocabularies and weights, never code."""


@dataclass(frozen=True)
class Source:
    """A place that a model and its processor are read from.

    Attributes:
        name: Folder, or name of the repository.
        folder: Where its files are: the folder itself, or one in the cache of the Hub's client.
        revision: Full hash of the repository's commit; ``None`` for a folder.
    """

    name: str
    folder: Path
    revision: str | None = None

    @property
    def is_safe(self) -> bool:
        """Whether its weights are safetensors."""
        return (self.folder / "model_index.json").is_file() or any(self.folder.glob("model*.safetensors"))

    @property
    def pinned(self) -> dict[str, Any]:
        """Arguments of ``from_pretrained``, beside ``name``, which read exactly these files and run no code."""
        fetched = {"revision": self.revision, "local_files_only": True} if self.revision else {}
        return {**fetched, "trust_remote_code": False}


def source_of(name: str | Path, revision: str | None = None) -> Source:
    """Return where a model is read from; a repository's files are fetched, once in a process.

    Args:
        name: A folder, or a repository ``org/name`` on the Hub.
        revision: Branch, tag or commit of the repository; default: the newest, as it was at the first call.

    Raises:
        OSError, ValueError: If it is neither, or the Hub cannot be reached and the cache lacks it.
    """
    from huggingface_hub import constants

    if Path(name).is_dir():
        return Source(str(name), Path(name))
    return _fetched(str(name), revision, constants.ENDPOINT, constants.HF_HUB_CACHE)


@cache
def _fetched(name: str, revision: str | None, endpoint: str, cache_dir: str) -> Source:
    from huggingface_hub import snapshot_download

    # The folder is named after the commit.
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(FETCHED), cache_dir=cache_dir))
    source = Source(name, folder, folder.name)
    if not source.is_safe:
        snapshot_download(name, revision=folder.name, allow_patterns=[PICKLED], cache_dir=cache_dir)
    return source


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a library raises over files that others made into one line.

    Args:
        what: Beginning of that line.

    Raises:
        BadInput: For every error except that of a full disk, which is not the files' fault.
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # Libraries check little of what they read, so it may be any.
        if disk_is_full(error):
            raise
        raise BadInput(f"{what}: {first_line(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # What a library in Rust ends with, a bug as it is.
            raise
        raise BadInput(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return what an error says in its first line, or its kind where it says nothing."""
    said = (str(error).strip().splitlines() or [""])[0]
    # The text of some errors is no sentence: a KeyError's is the key alone.
    named = not isinstance(error, OSError | ValueError | RuntimeError)
    return f"{type(error).__name__}{': ' * bool(said)}{said}" if named or not said else said
