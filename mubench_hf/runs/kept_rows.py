"""Loads the rows of a table once for several of its checkpoints."""

from __future__ import annotations

from pathlib import Path

from mubench_hf.data.prepare import TaskData
from mubench_hf.runs.setup import Setup
from mubench_hf.runs.train import load_rows
from mubench_hf.utils.files import known_sha256

OF_MODELS = frozenset(("config.json", "generation_config.json", "adapter_config.json", "recipe.json", "run.json",
                       "result.json", "model.safetensors.index.json"))  # fmt: skip
"""JSON files of a checkpoint that say nothing of how rows are prepared."""

OF_PROCESSORS = frozenset((".json", ".txt", ".model", ".jinja"))
"""Endings of files that do."""


class KeptRows:
    """``load_rows``, which returns the rows that it loaded last if they are the same.

    They are if table and organisation are, and the checkpoint's processor has the same files: each checkpoint is
    measured as if alone. Rows that are another's make way first, since two sets of them need not fit into memory.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._rows: TaskData | None = None

    def __call__(self, setup: Setup, checkpoint: str | Path | None = None, org: str = "mubench") -> TaskData:
        """Return a table's rows, prepared for a checkpoint; see ``load_rows``."""
        key = (setup.task, setup.variant, setup.model.name, setup.del_ratio, setup.out, org, _processor(checkpoint))
        if self._rows is None or self._key != key:
            self._rows = None
            self._rows, self._key = load_rows(setup, checkpoint, org), key
        return self._rows


def _processor(checkpoint: str | Path | None) -> dict[str, str] | None:
    """Return the hash of each file of a checkpoint's processor; ``None`` for the one that belongs to the model."""
    if checkpoint is None:
        return None
    files = sorted(Path(checkpoint).iterdir())
    return {
        file.name: known_sha256(file)
        for file in files
        if file.suffix in OF_PROCESSORS and file.name not in OF_MODELS and file.is_file()
    }
