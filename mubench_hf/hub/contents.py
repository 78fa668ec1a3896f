"""What the files are that are to be sent: looked into, for a name says nothing of what is inside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.models.checked import read_header

SECRETS = {
    "a token of the Hub": rb"\bhf_[A-Za-z0-9]{30,}",
    "a key of OpenAI or Anthropic": rb"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,}",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40,})",
    "a token of GitLab": rb"\bglpat-[\w-]{20,}",
    "a key of AWS": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of Google": rb"\bAIza[\w-]{35}",
    "a token of Slack": rb"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "a private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY",
}
"""What looks like a secret → how it is told."""

_SECRETS = re.compile(b"|".join(b"(?P<s%d>%s)" % (place, pattern) for place, pattern in enumerate(SECRETS.values())))

TEXTS = (".md", ".txt", ".py", ".css", ".jinja", ".yaml", ".yml", ".jsonl")
BINARIES = (".safetensors", ".parquet", ".npz", ".png")
PNG = b"\x89PNG\r\n\x1a\n"


def check_contents(name: str, files: Mapping[str, Path | bytes]) -> None:
    """Check that each file is what its ending says, and that no text among them holds a secret.

    Args:
        name: The repository, for errors.
        files: Path in it → the file on disk, or the content itself.

    Raises:
        BadInput: Naming the first file that is something else, and what it is.
    """
    for path, file in files.items():
        if path.endswith(".safetensors") and isinstance(file, Path):
            read_header(file)
            _check_no_secret(name, path, _header(file))
            continue
        if path.endswith(BINARIES) and not path.endswith(".png"):
            continue  # Outputs and built rows are read whole, and compared with their hashes, before they come here.
        content = file if isinstance(file, bytes) else file.read_bytes()
        try:
            _check_kind(path, content)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                f"{path} of {name} is not what its name says ({error}). Nothing was sent. Save it again, or remove it."
            ) from error
        _check_no_secret(name, path, content)


def check_sole(name: str, files: Mapping[str, Path | bytes]) -> None:
    """Check that no file has another name as well: that may be anywhere, such as in the folder of one's keys.

    Raises:
        BadInput: Naming the first that has.
    """
    for path, file in files.items():
        if isinstance(file, Path) and file.stat().st_nlink > 1:
            raise BadInput(
                f"{path} of {name} has another name as well (it is a hard link), which may be anywhere on this "
                "machine. Nothing was sent. Put a copy in its place."
            )


def _check_kind(path: str, content: bytes) -> None:
    """Check one file's content against the ending of its name.

    Raises:
        ValueError: Saying what it is instead.
    """
    if path.endswith(".json"):
        json.loads(content.decode("utf-8"))
    elif path.endswith(TEXTS):
        if b"\0" in content:
            raise ValueError("it holds bytes that no text has")
        content.decode("utf-8")
    elif path.endswith(".png"):
        if not content.startswith(PNG):
            raise ValueError("it is no PNG")
    elif path.endswith(".model"):
        _check_pieces(content)


def _check_pieces(content: bytes) -> None:
    """Check that a vocabulary is one of SentencePiece.

    Raises:
        ValueError: If it is something else.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    try:
        found = ModelProto.FromString(content)
    except DecodeError as error:
        raise ValueError("it is no vocabulary of SentencePiece") from error
    found.DiscardUnknownFields()  # What the format does not know might be anything.
    if not found.pieces or found.ByteSize() < 0.99 * len(content):
        raise ValueError("it is no vocabulary of SentencePiece")


def _header(file: Path) -> bytes:
    """Return the text at the beginning of weights in the safetensors format."""
    with open(file, "rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))


def _check_no_secret(name: str, path: str, content: bytes) -> None:
    if found := _SECRETS.search(content):
        what = list(SECRETS)[int(str(found.lastgroup)[1:])]
        raise BadInput(f"{path} of {name} holds what looks like {what}. Nothing was sent. Remove it first.")
