"""Which columns of a row a collator is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from mubench_hf.data.batches import Finish, finish_of
from mubench_hf.data.columns import LABELS
from mubench_hf.errors import BadInput
from mubench_hf.models.bare import bare_model


class InputColumns:
    """A collator that is given only the columns that a model takes.

    A ``forward`` that takes ``**kwargs`` and names none of a row's inputs is given every column.

    Args:
        collator: Makes a batch of rows.
        model: The model.
        label_names: Names of labels, in addition to the usual ones.
    """

    def __init__(
        self,
        collator: Callable[[list[Any]], Mapping[str, Any]],
        model: torch.nn.Module,
        label_names: Collection[str] = (),
    ):
        model = bare_model(model)
        parameters = inspect.signature(model.forward).parameters.values()
        self.collator, self.model_name = collator, type(model).__name__
        self.labels = frozenset(LABELS).union(label_names)
        self.inputs = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        self.inputs -= self.labels
        # Most models of transformers take any keyword, for their attention, and yet name their inputs.
        names_inputs = getattr(model, "main_input_name", None) in self.inputs
        self.takes_any = not names_inputs and any(each.kind is each.VAR_KEYWORD for each in parameters)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return one batch of ``rows``, which are not changed.

        Raises:
            BadInput: If the model takes no column of a row.
        """
        return self.collator([self._taken(row) for row in rows])

    @property
    def finish(self) -> Finish | None:
        """What is done to a batch that is stacked already; ``None`` if the collator has to be given rows."""
        inner = finish_of(self.collator)
        return None if inner is None else partial(self._finished, inner)

    def _finished(self, inner: Finish, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._taken(inner(batch))

    def _taken(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.inputs & row.keys():
            if self.takes_any:
                return row
            raise BadInput(
                f"A row has {', '.join(row)}, but {self.model_name} takes {', '.join(sorted(self.inputs))}. Prepare "
                "rows so that they hold what the model takes, or give a data_collator that makes it of them."
            )
        return {name: value for name, value in row.items() if name in self.inputs or name in self.labels}


def with_columns(
    collator: Callable[[list[Any]], Mapping[str, Any]],
    model: torch.nn.Module,
    label_names: Collection[str],
    only_inputs: bool,
) -> Callable[[list[Any]], Mapping[str, Any]]:
    """Return a collator that is given the columns meant for it.

    A collator of one's own is given every column, unless ``only_inputs``. Those of ``transformers`` make tensors of
    whatever they are given, so they are given what the model takes.
    """
    return InputColumns(collator, model, label_names) if only_inputs or not is_own(collator) else collator


def is_own(collator: Callable[[list[Any]], Mapping[str, Any]]) -> bool:
    """Return whether a collator is the caller's own and not one of ``transformers``."""
    made_by = collator.func if isinstance(collator, partial) else collator
    home = made_by.__module__ if inspect.isroutine(made_by) else type(made_by).__module__
    return home.split(".")[0] != "transformers"
