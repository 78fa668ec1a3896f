"""The kept outputs of the runs that another is compared with, read when a metric first asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import ROWS, kept_outputs, outputs_of
from mubench_hf.runs.record import RunRecord
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Source
from mubench_hf.runs.store import has_logits, load_logits

SAME = ("data_fingerprint", "deletion_sha256")
"""Fields that two runs on the same rows share."""

TITLES = {"original": "original", "retrain": "retrained model"}


def reference_outputs(
    run: RunResult | RunRecord,
    mine: Mapping[str, np.ndarray],
    references: Mapping[str, RunResult],
    folder: Path | str,
) -> dict[str, Source]:
    """Return the sources, see ``score``, of what a folder keeps of the runs that another one is compared with.

    Args:
        run: The other one.
        mine: Its outputs.
        references: ``original`` and ``retrain``, as far as there are any, see ``reference_results``.
        folder: Folder of results.

    Raises:
        ValueError: By a source, when it is read: if its arrays are of other data or rows, were changed or are damaged.
    """

    def source(name: str, reference: RunResult) -> Source:
        def load() -> dict[str, np.ndarray]:
            differing = [field for field in SAME if getattr(run, field) != getattr(reference, field)]
            if differing:
                raise ValueError(f"{_kept(name)} are of other data ({', '.join(differing)} differ). {_AGAIN}")
            try:
                return load_logits(reference.name, folder, reference.hashes)
            except BadInput as error:  # Its text names a folder, which is nobody else's business.
                raise ValueError(f"{_kept(name)} were changed or are damaged. {_AGAIN}") from error

        return on_same_rows(mine, name, load)

    there = {name: reference for name, reference in references.items() if has_logits(reference.name, folder)}
    return {outputs_of(name): source(name, reference) for name, reference in there.items()}


def on_same_rows(mine: Mapping[str, np.ndarray], name: str, load: Callable[[], Mapping[str, np.ndarray]]) -> Source:
    """Return a source of a reference run's arrays, named as metrics name them, if they are of the same rows.

    Args:
        mine: Outputs of the run that is compared.
        name: ``original`` or ``retrain``.
        load: Returns the outputs of that one; a ValueError says why there are none.

    Raises:
        ValueError: By the source, when it is read: if its arrays are of other rows, or in another order.
    """

    def source() -> dict[str, np.ndarray]:
        theirs = load()
        # Features are floats, whose last digits may differ; labels and texts say well enough which rows these are.
        shared = [each for each, parameter in kept_outputs().items() if parameter.shared == ROWS]
        compared = [each for each in shared if each in mine and each in theirs and mine[each].dtype.kind != "f"]
        if differing := [each for each in compared if not np.array_equal(mine[each], theirs[each])]:
            names = ", ".join(differing)
            raise ValueError(f"{_kept(name)} are of other rows, or in another order ({names} differ). {_AGAIN}")
        return {f"{name}_{key}": value for key, value in theirs.items()}

    return source


_AGAIN = "Evaluate both on one data set"


def _kept(name: str) -> str:
    return f"the kept outputs of the {TITLES[name]}"
