"""Outputs of runs: read within bounds, and compared with those of the other runs of a table and with the data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mubench_hf.data.loading import load_split
from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.metrics.parameters import ROWS, SEED, SPLITS, kept_outputs
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import LARGEST_OUTPUTS, load_logits
from mubench_hf.tasks import get_task

CLOSE, ROUNDING, MOST_ROWS, COMPARED_ROWS = 1e-2, 1e-5, 0.5, 2000
"""Share of a row's spread below which two models, or two made from one original, say the same of it; share of such rows
that makes a copy; and rows of a split that are compared. On cifar100-mini the middle row of a retrained model differs
from any other model's by half its spread, and of two methods that share an original by 0.07 and more."""

Arrays = Mapping[str, np.ndarray]


def read_outputs(file: Path, status: str = "ok") -> dict[str, np.ndarray]:
    """Return the arrays of a run's npz.

    Args:
        file: The npz. It is stored, not compressed, as ``mubench evaluate`` writes it: it takes as much memory as disk.
        status: The run's. Only weights that are not finite give numbers that are not, and such a run is not ok.

    Raises:
        BadInput: If it is larger than ``LARGEST_OUTPUTS``, compressed, damaged, does not hold a run's outputs or other
            arrays than ``kept_outputs`` names, or a number of an ok run is not finite.
    """
    size = file.stat().st_size
    if size > LARGEST_OUTPUTS:
        raise BadInput(f"{file.name} has {size} bytes; outputs have at most {LARGEST_OUTPUTS}. Leave it out.")
    arrays = load_logits(file.stem, file.parent, most=size)
    for key, values in arrays.items():
        bad = 0 if values.dtype.kind != "f" else np.count_nonzero(~np.isfinite(values) & _scored(key, arrays))
        if bad and status == "ok":
            raise BadInput(
                f"{file.name}: {bad} of {values.size} numbers in {key} are not finite, and its status is ok. "
                "Evaluate it again, or leave the run out."
            )
    return arrays


def _scored(key: str, arrays: Arrays) -> np.ndarray | bool:
    """Return where an array must hold numbers: of token positions, those with a true token; else everywhere."""
    from mubench_hf.kinds._losses import IGNORED  # It brings in torch.

    tokens = arrays.get(f"{key.partition('_')[0]}_label_tokens")
    per_token = tokens is not None and key != "chance" and arrays[key].shape == tokens.shape
    return tokens != IGNORED if per_token else True


def differences(mine: Arrays, theirs: Arrays, same_seed: bool) -> Iterator[str]:
    """Yield the names of arrays that two runs of one table should share and do not.

    Args:
        mine: Outputs of one run.
        theirs: Outputs of the other.
        same_seed: Whether both have the same seed.
    """
    for key in sorted(mine.keys() | theirs.keys()):
        both, shared = key in mine and key in theirs, kept_outputs()[key].shared
        # An untrained model's arrays are kept only where a metric that reads them was asked for.
        compared = shared == ROWS or (shared == SEED and same_seed and both)
        if compared and not (both and _same(mine[key], theirs[key])):
            yield key


def unlike_table(mine: Arrays, theirs: Arrays) -> str | None:
    """Return how a run's predictions differ in kind from another's of its table, ``None`` if they do not.

    A model with other classes, or other rows, cannot have been made for the same table.
    """
    for split in SPLITS:
        key = f"{split}_logits"
        if mine[key].shape != theirs[key].shape:
            return f"{key} has the shape {mine[key].shape} and not {theirs[key].shape}"
    return None


def is_copy(mine: Arrays, theirs: Arrays, rng: np.random.Generator, *, related: bool) -> bool:
    """Return whether two runs say the same of most rows of a split, but for a little noise.

    Compared are centred log-probabilities, ``[rows, classes]``: adding a number to all logits of a row changes nothing.
    Two rows are alike if they differ by a small share of their own spread. Of large splits some rows are drawn.

    Args:
        mine: Outputs of one run.
        theirs: Outputs of the other.
        rng: Draws the rows.
        related: Whether both were made from one original; two trained models with nothing in common are never close.
    """
    most = ROUNDING if related else CLOSE
    for split in SPLITS:
        first, second = mine[f"{split}_logits"], theirs[f"{split}_logits"]
        rows = rng.choice(len(first), min(len(first), COMPARED_ROWS), replace=False)
        first, second = _centred(first[rows]), _centred(second[rows])
        alike = np.square(first - second).mean(axis=1) <= most**2 * np.square(second).mean(axis=1)
        if alike.mean() >= MOST_ROWS:
            return True
    return False


def _centred(logits: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    found = log_softmax(logits.reshape(len(logits), -1).astype(np.float64), axis=1)
    return found - found.mean(axis=1, keepdims=True)


def unlike_data(result: RunResult, outputs: Arrays, out: Path) -> str | None:
    """Return how outputs differ from the rows of the run's data set, ``None`` if they do not.

    Args:
        result: The run.
        outputs: Its outputs.
        out: Folder that the data set was built in.

    Raises:
        BadInput: If the data set is not there.
    """
    task = get_task(result.task)
    splits = load_split(task, variant=result.variant, ratio=result.del_ratio, out=out)
    classes = getattr(splits["test"].features[task.label], "names", None)
    if not np.isclose(outputs["chance"], 1 / len(classes) if classes else 0.0):
        return f"its chance is {outputs['chance']}, not that of {f'{len(classes)} classes' if classes else 'texts'}"
    for split in SPLITS:
        rows = splits[split]
        # Outputs are in upstream order, the files of the train rows in the order in which rows are forgotten.
        labels = np.asarray(rows[task.label])[np.argsort(rows["index"], kind="stable")]
        found = len(outputs[f"{split}_labels"])
        if found != len(labels):
            return f"it has {found} rows of {split} in place of {len(labels)}"
        # Where labels are texts, `labels` only says that the truth is class 0 of two.
        key = f"{split}_{'labels' if get_kind(task.kind).label_is_class else 'references'}"
        if key in outputs and not np.array_equal(outputs[key], labels):
            return f"its {key} are not those of the data set, in the order of their index"
    return None


def _same(mine: np.ndarray, theirs: np.ndarray) -> bool:
    if mine.shape != theirs.shape or mine.dtype.kind != theirs.dtype.kind:
        return False
    # Another processor's last digits are no other model's.
    return np.allclose(mine, theirs, rtol=1e-3, atol=1e-3) if mine.dtype.kind == "f" else np.array_equal(mine, theirs)
