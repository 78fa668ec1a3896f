"""An app of ``spaces/`` as a Space: its page, its card, what it needs, and nothing else that lies in its folder."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.hub.allowed import CARD, plain_files
from mubench_hf.hub.bundle import SPACE_FILES, Bundle
from mubench_hf.hub.contents import check_contents
from mubench_hf.utils.shipped import shipped_folder

PATTERNS = (*SPACE_FILES, "*.py", "*.css", "*.md")
"""What a Space may be made of, directly in its folder."""


def list_spaces() -> list[str]:
    """Return the names of all Spaces, sorted."""
    return sorted(file.parent.name for file in shipped_folder("spaces").glob("*/app.py"))


def space_folder(name: str) -> Path:
    """Return the folder of one Space, in the installed package or in the checkout.

    Raises:
        BadInput: If there is no such Space.
    """
    if name not in list_spaces():
        raise unknown_name("space", name, list_spaces())
    return shipped_folder("spaces") / name


def space_bundle(name: str, *, org: str = "mubench") -> Bundle:
    """Return an app of this project as a Space.

    Raises:
        BadInput: If there is no such Space, a file that every Space has is missing, or its card pins no version of
            Gradio.
    """
    folder = space_folder(name)
    plain, left_out = plain_files(folder)
    files: dict[str, Path | bytes] = {path: file for path, file in plain.items() if _allowed(path)}
    missing = sorted(set(SPACE_FILES) - files.keys())
    if missing:
        raise BadInput(f"{folder} lacks {', '.join(missing)}; every Space has {', '.join(SPACE_FILES)}.")
    metadata = _metadata(plain[CARD].read_bytes())
    if metadata.get("sdk") != "gradio" or not re.fullmatch(r"\d+\.\d+\.\d+", str(metadata.get("sdk_version"))):
        raise BadInput(
            f"{folder / CARD} names sdk {metadata.get('sdk')!r} and sdk_version {metadata.get('sdk_version')!r}; "
            "needed are gradio and one version of it, such as 6.31.0."
        )
    bundle = Bundle(
        "space",
        f"{org}/{name}",
        files,
        owns=_allowed,
        # Every Space has an app.py; the title says which one it is.
        marker=CARD,
        same=lambda there: _metadata(there).get("title") == metadata["title"],
        left_out=tuple(left_out + sorted(plain.keys() - files.keys())),
    )
    check_contents(bundle.name, bundle.files)
    return bundle


def _allowed(path: str) -> bool:
    return "/" not in path and any(fnmatchcase(path, pattern) for pattern in PATTERNS)


def _metadata(card: bytes) -> dict[str, object]:
    """Return a card's metadata, empty where there are none."""
    from huggingface_hub import RepoCard

    try:
        return RepoCard(card.decode(), ignore_metadata_errors=True).data.to_dict()
    except (ValueError, UnicodeDecodeError):
        return {}
