"""The rows of a task at one ratio as samples: those of the data set, and one's own."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from mubench_hf.data.prepare import TaskData
from mubench_hf.demo.clips import Clips
from mubench_hf.demo.own import read_own, stand_in
from mubench_hf.demo.rows import Field, Sample, medium_of, show, title_of
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics.parameters import SPLITS


class Samples:
    """Makes samples of a task's rows.

    Args:
        data: The rows.
        clips: Where videos to show are written.
    """

    def __init__(self, data: TaskData, clips: Clips):
        self.data, self.task, self._clips = data, data.task, clips
        self.features = data.splits["test"].rows.features
        # Measured outputs stand in upstream order; D_f is stored as it was drawn.
        self._order = {split: np.argsort(data.splits[split].index, kind="stable") for split in SPLITS}
        given = get_measure(self.task.kind).given(self.task, self.features)
        self._truths = tuple(name for name in self.task.inputs if name not in given) or (self.task.label,)
        self.fields = {name: self._field(name) for name in (*given, *self._truths)}

    def _field(self, name: str) -> Field:
        feature, optional = self.features[name], name in self._truths
        # Where classes are forgotten whole, a class is all that a model can be asked for.
        asks_class = self.task.forgets_classes and not optional
        medium = "choice" if asks_class else medium_of(feature)
        choices = tuple(self.data.label_names) if medium == "choice" else ()
        example = self.data.splits["test"].rows[0][name] if medium == "text" else None
        return Field(name, medium, title_of(name), choices, optional, example)

    def count(self, split: str) -> int:
        """Return the number of rows of a split.

        Raises:
            BadInput: If it is none of ``SPLITS``.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return len(self._order[split])

    def of_split(self, split: str, position: int) -> Sample:
        """Return the row at a place of a split, in upstream order, counted from 0.

        Raises:
            BadInput: If there is no such split or place.
        """
        count = self.count(split)
        try:
            place = operator.index(position)
        except TypeError:
            place = -1
        if not 0 <= place < count:
            raise BadInput(
                f"Row {position!r:.20} of {split} is not there. Allowed: a whole number from 0 to {count - 1}."
            )
        row = self.data.splits[split].rows[int(self._order[split][place])]
        shown = tuple(show(name, self.features[name], row[name], self._clips) for name in self.task.inputs)
        return Sample(split, row["index"], shown, self._truth(row), row, place, True, f"{split} {place}")

    def own(self, values: Mapping[str, Any]) -> Sample:
        """Return a sample made of one's own input.

        Args:
            values: Field name → path of a file, text or choice; ``None`` and an empty text count as left out.

        Raises:
            BadInput: If a field is unknown, a needed one is left out, or a value cannot be used.
        """
        given = {name: value for name, value in values.items() if value is not None and value != ""}
        for name in given:
            if name not in self.fields:
                raise unknown_name("field", name, self.fields)
        needed = [field for field in self.fields.values() if not field.optional]
        for field in needed:
            if field.name not in given:
                raise BadInput(f"{field.label} is left out. Needed: {', '.join(each.label for each in needed)}.")
        row = {name: read_own(self.fields[name], self.features[name], value) for name, value in given.items()}
        known = self.task.label in given
        if self.task.forgets_classes:
            row[self.task.label], known = self.data.label_names.index(row[needed[0].name]), True
        shown = [show(name, self.features[name], row[name], self._clips) for name in self.task.inputs if name in given]
        scored = all(name in given for name in self._truths)
        row |= {name: stand_in(self.features[name]) for name in self.features if name not in row and name != "index"}
        truth = self._truth(row) if known else None
        return Sample(None, None, tuple(shown), truth, row, 0, scored, f"own {uuid.uuid4().hex}")

    def _truth(self, row: Mapping[str, Any]) -> str:
        label = row[self.task.label]
        return self.data.label_names[label] if self.data.label_names else label
