"""States that a killed run goes on from: whose they are, and whether they are whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from mubench_hf.errors import BadInput
from mubench_hf.utils.differences import differences
from mubench_hf.utils.files import file_sha256, write_atomic
from mubench_hf.utils.sealed import seal_holds, sealed
from mubench_hf.utils.spent import Spent

STATE_FILE = "unlearning_state.json"
"""File written last into a saved state: a folder without it is incomplete and is not resumed from."""

WEIGHTS_FILE = "unlearning_weights.safetensors"
"""What the run had changed in the model when the state was saved."""

START_FILE = "unlearning_start.safetensors"
"""The adapters that the run started from: unlike an original's weights, they may have been drawn just before."""

NEEDED = {
    WEIGHTS_FILE: (WEIGHTS_FILE, "pytorch_model_fsdp"),
    "trainer_state.json": ("trainer_state.json",),
    "optimizer.pt": ("optimizer",),
    "scheduler.pt": ("scheduler.pt",),
    "rng_state.pth": ("rng_state",),
}
"""Without one of these, ``Trainer`` would go on with a fresh one, or not at all: its name, and how the names of files
begin that hold it; those of a sharded model are ``Trainer``'s own, whole or in parts."""

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class SavedState:
    """One saved state.

    Attributes:
        folder: Where it is.
        run: What identifies the run that saved it: method, settings, seed, rows and the original's weights.
        spent: What the run had taken; processor seconds are ``None`` in states of earlier versions.
        files: Name of each file → its SHA-256.
    """

    folder: Path
    run: dict[str, Any]
    spent: Spent
    files: dict[str, str]

    @property
    def step(self) -> int:
        """The number of updates that were done."""
        return int(self.folder.name.rsplit("-", 1)[1])

    @property
    def lacks(self) -> list[str]:
        """Names of the files that going on needs and that were not saved; only the best model is read without them."""
        return [name for name, begins in NEEDED.items() if not any(file.startswith(begins) for file in self.files)]


def mark_state(folder: Path, run: Mapping[str, Any], spent: Spent) -> None:
    """Say that all files of a state are written, what they hold and whose they are."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != STATE_FILE)
    hashes = {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}
    taken = {"seconds": spent.wall, "cpu_seconds": spent.cpu}
    text = json.dumps(sealed({"run": dict(run), **taken, "files": hashes}), indent=1, sort_keys=True)
    write_atomic(folder / STATE_FILE, lambda stream: stream.write(text.encode()))


def read_state(folder: str | Path) -> SavedState:
    """Return a state whose files are all as they were saved.

    Raises:
        BadInput: If it was not saved to its end, or is damaged, or an earlier version saved it, which noted no run.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        if "files" not in content:
            reason = "an earlier version saved it, which did not note whose state it is"
        elif not seal_holds(content):
            reason = f"{STATE_FILE} was changed"
        else:
            changed = [name for name, sha256 in content["files"].items() if _hash(folder / name) != sha256]
            reason = f"damaged or missing: {', '.join(changed)}" if changed else ""
        if not reason:
            cpu = content.get("cpu_seconds")
            spent = Spent(float(content["seconds"]), None if cpu is None else float(cpu))
            return SavedState(folder, content["run"], spent, content["files"])
    except FileNotFoundError:
        reason = f"it has no {STATE_FILE}, so it was not saved to its end by an unlearning trainer"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{STATE_FILE} cannot be read: {error}"
    raise BadInput(f"{folder} cannot be resumed from: {reason}. Give another state, or True for the last complete one.")


def state_of(folder: str | Path, run: Mapping[str, Any]) -> SavedState:
    """Return a run's own whole state.

    Raises:
        BadInput: If ``read_state`` does not find one there, or it is another run's, naming what differs.
    """
    state = read_state(folder)
    if state.lacks:
        raise BadInput(
            f"{state.folder} cannot be resumed from: {', '.join(state.lacks)} was not saved (save_only_model). "
            "Start the run afresh."
        )
    phrases = _differences(state.run, dict(run))
    if phrases:
        raise BadInput(
            f"{state.folder} is the state of another run ({'; '.join(phrases)}), so going on from it would be neither "
            "run. Choose another output_dir, or move that folder."
        )
    return state


def last_state(output_dir: str | Path, run: Mapping[str, Any]) -> SavedState | None:
    """Return the last whole state in a folder; ``None`` without one. Those that are not whole are passed over.

    Raises:
        BadInput: If it is another run's.
    """
    for folder in state_folders(output_dir):
        try:
            state = read_state(folder)
        except BadInput as error:
            logger.warning(f"Passed over: {error}")
            continue
        if state.lacks:
            logger.warning(f"Passed over: {folder} was saved without {', '.join(state.lacks)}.")
            continue
        return state_of(folder, run)
    return None


def state_folders(output_dir: str | Path) -> list[Path]:
    """Return the folders of saved states, the last first, whether they are whole or not."""
    folders = Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    numbered = [folder for folder in folders if folder.name.rsplit("-", 1)[1].isdecimal()]
    return sorted(numbered, key=lambda folder: -int(folder.name.rsplit("-", 1)[1]))


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    if found.get("method") != wanted["method"]:  # Its settings are others, too.
        return [f"method is {found.get('method')}, not {wanted['method']}"]
    return [re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", phrase) for phrase in differences(found, wanted)]


def _hash(file: Path) -> str | None:
    return file_sha256(file) if file.is_file() else None
