"""How far a run's weights lie from the original's and the retrained model's, read from their checkpoints."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import REFERENCES, weights_of
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.record import RunId, RunRecord, load_record, reference_names

if TYPE_CHECKING:
    from mubench_hf.runs.result import RunResult
    from mubench_hf.runs.scores import Source

FOLDER = "mubench"
"""Where checkpoints are, beside the folder of results."""

TITLES = {"original": "the original", "retrain": "the retrained model"}


def weight_sources(run: RunResult | RunRecord, named: RunId, folder: Path | str) -> dict[str, Source]:
    """Return the sources, see ``score``, of what metrics read of the weights of a run and of a reference run.

    Args:
        run: The run.
        named: Its name.
        folder: Folder of results, beside that of the checkpoints.

    Raises:
        ValueError: By a source, when it is read: if one of the checkpoints is not there, is not finished or was changed
            since, or if they hold other tensors.
    """
    checkpoints = Path(folder).parent / FOLDER
    names = reference_names(named, run.base_model, run.external)

    def source(reference: str) -> dict[str, np.ndarray]:
        if reference not in names:
            raise ValueError(f"needs the checkpoint of {TITLES[reference]}, and this run names none of this benchmark")
        own = _checkpoint(checkpoints / named.checkpoint_name, "this run")
        other = _checkpoint(checkpoints / names[reference], TITLES[reference])
        return {f"weights_from_{reference}": layer_distances(own, other)}

    return {weights_of(reference): partial(source, reference) for reference in REFERENCES}


def _checkpoint(folder: Path, whose: str) -> Path:
    try:
        record = load_record(folder)
        if record is None or not record.finished:
            raise ValueError(f"needs the finished checkpoint of {whose}, which is not beside the results")
        check_files(folder, record)
    except BadInput as error:  # Its text names a folder, which is nobody else's business.
        raise ValueError(f"needs the checkpoint of {whose}, which is damaged or was changed") from error
    return folder


def layer_distances(checkpoint: Path, other: Path) -> np.ndarray:
    """Return of each layer, a tensor of floats, the distance of two checkpoints' weights and the norm of each's.

    One tensor of each is in memory at a time; sums are in double precision.

    Args:
        checkpoint: Folder with weights as safetensors.
        other: Another one.

    Returns:
        Float64 ``[layers, 3]``, in the order of the tensors' names.

    Raises:
        ValueError: If the two hold other tensors, or none.
    """
    with ExitStack() as opened:
        own, theirs = (_tensors(folder, opened) for folder in (checkpoint, other))
        if not own or own.keys() != theirs.keys():
            differing = len(own.keys() ^ theirs.keys())
            raise ValueError(
                f"the two checkpoints hold other tensors ({differing} are in one alone), such as adapters in place of "
                "a whole model; weights are compared where both have the same ones"
            )
        rows = [_row(own[name].get_tensor(name[1]), theirs[name].get_tensor(name[1]), name[1]) for name in sorted(own)]
    found = [row for row in rows if row is not None]
    if not found:
        raise ValueError("the checkpoints hold no weights as safetensors")
    return np.array(found)


def _tensors(folder: Path, opened: Any) -> dict[tuple[str, str], Any]:
    """Return the open file of each tensor, by the part of a pipeline that it is of and its name."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        part = path.parent.relative_to(folder)
        if any(each.startswith((".", "checkpoint-")) for each in part.parts):
            continue
        file = opened.enter_context(safe_open(path, framework="pt"))
        found |= {(part.as_posix(), name): file for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    return found


def _row(own: Any, other: Any, name: str) -> list[float] | None:
    """Return distance and norms of two tensors; ``None`` if they hold no floats, such as numbers of positions."""
    if not (own.is_floating_point() and other.is_floating_point()):
        return None
    if own.shape != other.shape:
        raise ValueError(f"the two checkpoints' {name} have shapes {tuple(own.shape)} and {tuple(other.shape)}")
    own, other = own.double(), other.double()
    return [float(each.norm()) for each in (own - other, own, other)]
