"""What tasks on text share: the check of their rows, tokens, and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    from datasets import DatasetDict


def check_texts(data: DatasetDict, columns: Sequence[str], name: str) -> DatasetDict:
    """Return ``data`` if every row has text in ``columns``.

    Args:
        data: Splits of a task.
        columns: Columns of strings.
        name: Key of the task.

    Raises:
        BadInput: If a row has none, naming split, column and index of the first one.
    """
    for split, rows in data.items():
        for column in columns:
            for index, text in enumerate(rows[column][:]):
                if not (text or "").strip():
                    raise BadInput(
                        f"Split {split!r} of {name}: column {column!r} has no text at index {index}. "
                        "Every row needs some; check the upstream files."
                    )
    return data


def tokenise(text: str, tokenizer: Any, max_length: int) -> dict[str, list[int]]:
    """Return a tokenizer's columns (``input_ids``, ``attention_mask``, ...), each a list of at most ``max_length``."""
    return dict(tokenizer(text, truncation=True, max_length=max_length))


def padding(tokenizer: Any) -> Callable[[list[Any]], dict[str, Any]]:
    """Return a collator that pads token lists to the longest of their batch."""
    from transformers import DataCollatorWithPadding

    return DataCollatorWithPadding(tokenizer)
