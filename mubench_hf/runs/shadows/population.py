"""Populations on disk: what each model says of each row, and of which models, in one sealed file each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.runs.record import RunId
from mubench_hf.runs.store import check_packed
from mubench_hf.utils.differences import differences
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import parse_object
from mubench_hf.utils.sealed import SEAL, seal_holds, sealed

FOLDER, FORMAT = "shadow", 1
"""Folder of populations, beside that of the results, and the version of their files."""

KINDS = ("half", "reseeded")
"""``half``: models that saw D_r and half of D_f. ``reseeded``: models that saw D_r alone, of different seeds."""

NOTE = "note"
"""Member of the file with its description, as JSON text."""

ARRAYS = (*(f"{split}_log_odds" for split in SPLITS), "forget_member")
"""Other members, each with a first axis of models."""


@dataclass(frozen=True)
class PopulationId:
    """Names a population.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Name of the model.
        kind: One of ``KINDS``.
        method: Key of the method that made each model forget what it saw of D_f, ``original`` if nothing did; empty
            for the models that the others are compared with. See ``mubench_hf.runs.shadows.making``.
        del_ratio: Percent of train in D_f; ``None`` if its rows are named.
        seed: Seed of the population, from which those of its models follow.
    """

    task: str
    variant: str
    model: str
    kind: str
    method: str
    del_ratio: int | None
    seed: int

    @property
    def name(self) -> str:
        """``<task>[-mini]-<model>-<kind>[-<method>][-df<ratio>pct]-s<seed>``, its file's name."""
        method = f"{self.kind}-{self.method}" if self.method else self.kind
        return RunId(self.task, self.variant, self.model, method, self.del_ratio, self.seed).name

    def file(self, out: Path) -> Path:
        """Return where it is kept, given the folder with data set, checkpoints and results."""
        return Path(out, FOLDER, f"{self.name}.npz")


@dataclass(frozen=True)
class Population:
    """What the models of a population say.

    Attributes:
        note: Its description: the fields of its ``PopulationId``; ``data_fingerprint`` and ``deletion_sha256`` of its
            rows; ``recipe``, the settings of each model's training, and ``config``, those of its unlearning;
            ``external`` parts, as of a run; ``seeds`` and ``statuses`` of the models in order.
        arrays: ``<split>_log_odds``, float32 ``[models, rows]``, each row in upstream order; ``forget_member``, bool
            ``[models, rows]``, whether a model was trained on a row of D_f.
    """

    note: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def models(self) -> int:
        """How many models it has."""
        return len(self.note["seeds"])

    @property
    def identity(self) -> dict[str, Any]:
        """What does not depend on how many models it has."""
        return {name: value for name, value in self.note.items() if name not in ("seeds", "statuses")}

    def first(self, models: int) -> Population:
        """Return the population of its first models."""
        note = {**self.note, **{name: self.note[name][:models] for name in ("seeds", "statuses")}}
        return Population(note, {name: value[:models] for name, value in self.arrays.items()})

    def member(self, split: str) -> np.ndarray:
        """Return whether each model was trained on each row of a split, bool ``[models, rows]``."""
        if split == "forget":
            return self.arrays["forget_member"]
        return np.full(self.arrays[f"{split}_log_odds"].shape, split == "retain")

    def save(self, file: Path) -> Path:
        """Write it, whole or not at all; equal populations give equal bytes."""
        arrays = {name: np.ascontiguousarray(self.arrays[name]) for name in sorted(self.arrays)}
        hashes = {name: _sha256(value) for name, value in arrays.items()}
        note = json.dumps(sealed({"format": FORMAT, **self.note, "arrays": hashes}), sort_keys=True)
        members = {NOTE: np.asarray(note), **arrays}
        return write_atomic(file, lambda stream: np.savez(stream, allow_pickle=False, **members))


def load_population(file: Path) -> Population:
    """Read what ``Population.save`` wrote.

    Raises:
        BadInput: If the file is missing, damaged, or was changed; the message names it.
    """
    try:
        check_packed(file)
        with np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        note = parse_object(str(arrays.pop(NOTE)))
        if SEAL not in note or not seal_holds(note) or note["arrays"] != {n: _sha256(v) for n, v in arrays.items()}:
            raise ValueError("it was changed after it was written")
        if note["format"] != FORMAT or {*arrays} != {*ARRAYS}:
            raise ValueError(f"it is of format {note['format']!r}, and this version reads {FORMAT}")
        return Population({n: v for n, v in note.items() if n not in (SEAL, "format", "arrays")}, arrays)
    except Exception as error:  # The arrays' headers are Python literals, so it may be any.
        raise BadInput(
            f"{file} is no population that can be used: {error}. Remove it, and make it again with `mubench shadow`."
        ) from error


def stacked(parts: Sequence[Population]) -> Population:
    """Return the populations of some models, in order, as one.

    Raises:
        BadInput: If they are not of the same population.
    """
    for part in parts[1:]:
        check_same(parts[0], part.identity, "What was made before")
    note = {**parts[0].note, **{name: [v for p in parts for v in p.note[name]] for name in ("seeds", "statuses")}}
    return Population(note, {name: np.concatenate([part.arrays[name] for part in parts]) for name in ARRAYS})


def check_same(there: Population, identity: Mapping[str, Any], where: str) -> None:
    """Check that a population is the one with an identity.

    Args:
        there: The population.
        identity: See ``Population.identity``.
        where: Where it is, for the message.

    Raises:
        BadInput: If it is another one, with what differs.
    """
    phrases = differences(there.identity, dict(identity))
    if phrases:
        raise BadInput(
            f"{where} is another population ({'; '.join(phrases)}). Move it, or choose another --seed or --out."
        )


def note_of(
    named: PopulationId, *, manifest: Mapping[str, Any], recipe: Any, config: Any, external: Any
) -> dict[str, Any]:
    """Return the identity of a population, see ``Population.note``, as plain JSON types."""
    rows = {"data_fingerprint": manifest["fingerprint"], "deletion_sha256": manifest["deletion_list"]["sha256"]}
    return json.loads(json.dumps({**asdict(named), **rows, "recipe": recipe, "config": config, "external": external}))


def _sha256(array: np.ndarray) -> str:
    about = f"{array.dtype.str} {array.shape}\n".encode()
    return hashlib.sha256(about + np.ascontiguousarray(array).tobytes()).hexdigest()
