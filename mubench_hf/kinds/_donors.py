"""What kinds have in common whose random target is that of another row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Kind
from mubench_hf.kinds._labels import label_name

TRIES = 100
"""Most rows of D_r that are looked at for a target that differs from a row's own."""


class DonorKind(Kind):
    """A row's random target is that of a row of D_r, so targets are as common as they are there."""

    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Draw a row of D_r for each row, uniformly: the one whose target it takes."""
        return rng.choice(np.flatnonzero(~is_forget), size=len(is_forget))


def other_target(rows: Any, drawn: int, target_of: Callable[[Mapping[str, Any]], Any], own: np.ndarray) -> Any:
    """Return the row of D_r that was drawn, or the next one there whose target is not the row's own.

    Args:
        rows: All rows, with ``is_forget``.
        drawn: Position of the row that was drawn.
        target_of: Returns what of a row is compared.
        own: The row's own target.

    Raises:
        BadInput: If none of the next rows has another target.
    """
    kept = np.flatnonzero(~rows.is_forget)
    first = int(np.searchsorted(kept, drawn))
    for step in range(min(len(kept), TRIES)):
        donor = rows[int(kept[(first + step) % len(kept)])]
        if not np.array_equal(target_of(donor), own):
            return donor
    raise BadInput(
        f"A random target has to differ from a row's own, but {min(len(kept), TRIES)} rows of retain_dataset in "
        "succession have the same one. Shuffle or extend retain_dataset, or use a method without random targets."
    )


def with_other_label(row: Mapping[str, Any], drawn: int, rows: Any) -> dict[str, Any]:
    """Return a row with the label of row ``drawn`` of D_r, or of the next there whose label is another."""
    name = label_name(row)
    donor = other_target(rows, drawn, lambda other: np.asarray(other[name]), np.asarray(row[name]))
    return {**row, name: donor[name]}
