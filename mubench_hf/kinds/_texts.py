"""Rows of texts, as trl's trainers take them, made into tokens: chats, prompts with completions, plain texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mubench_hf.data.columns import stored
from mubench_hf.errors import BadInput
from mubench_hf.kinds._losses import IGNORED

FORMS = (("messages",), ("prompt", "completion"), ("text",))
"""Columns that a row of texts has."""


class TokenisedRows(Dataset):
    """Rows of texts whose tokens are made when they are read.

    Args:
        rows: Rows of texts.
        tokenise: Makes a model's inputs of a row.

    Attributes:
        index: Each row's number upstream, if ``rows`` say it.
    """

    def __init__(self, rows: Any, tokenise: Callable[[Mapping[str, Any]], dict[str, Any]]):
        self.rows, self.tokenise = rows, tokenise
        self.index = stored(rows, "index")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return one row's inputs.

        Raises:
            BadInput: If its texts cannot be used, with its position.
        """
        try:
            return self.tokenise(self.rows[int(position)])
        except BadInput as error:
            raise BadInput(f"Row {position}: {error}") from error


def form_of(rows: Any) -> tuple[str, ...] | None:
    """Return the columns that hold a row's texts; ``None`` if rows have tokens or anything else."""
    names = getattr(rows, "column_names", None)
    if not isinstance(names, list | tuple):
        row = rows[0] if len(rows) else None
        names = list(row) if isinstance(row, Mapping) else []
    if "input_ids" in names:
        return None
    return next((form for form in FORMS if all(name in names for name in form)), None)


def tokenizer_in(processing_class: Any, form: Sequence[str]) -> Any:
    """Return the tokenizer that rows of texts need.

    Raises:
        BadInput: If there is none.
    """
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    if tokenizer is None:
        raise BadInput(
            f"Rows hold {' and '.join(form)}, which are texts. Give the model's tokenizer as processing_class, or rows "
            "with input_ids and labels."
        )
    return tokenizer


def continued(row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    """Return a text to continue, ``input_ids``, ``attention_mask`` and ``labels``, which are -100 over what is given.

    Of a chat the answers of the assistant are scored, of a prompt its completion, and of a plain text all of it.

    Raises:
        BadInput: If there is nothing to score, or the chat template does not keep a chat's beginning as it goes on.
    """
    if "messages" in row:
        ids, scored = _chat(row["messages"], 0, row, tokenizer)
    elif "prompt" in row:
        ids, scored = _completion(row, tokenizer)
    else:
        ids = _ended(tokenizer(row["text"])["input_ids"], tokenizer)
        scored = [(0, len(ids))]
    labels = np.full(len(ids), IGNORED)
    for first, end in scored:
        labels[first:end] = ids[first:end]
    limit = min(len(ids), tokenizer.model_max_length)
    if (labels[:limit] == IGNORED).all():
        raise BadInput(
            f"Of {len(ids)} tokens, of which the tokenizer's model_max_length lets {limit} stand, none is an answer to "
            "learn. Every row needs one, such as a message of the role assistant."
        )
    return {"input_ids": ids[:limit], "attention_mask": [1] * limit, "labels": labels[:limit].tolist()}


def answered(row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    """Return a text and its answer for an encoder and a decoder.

    Raises:
        BadInput: If they are not two texts.
    """
    if not (isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str)):
        raise BadInput(
            "A model with encoder and decoder takes rows with the texts prompt and completion, or with input_ids and "
            f"labels; this one has {', '.join(row)}."
        )
    given = tokenizer(row["prompt"], truncation=True)
    labels = tokenizer(text_target=row["completion"], truncation=True)["input_ids"]
    return {"input_ids": given["input_ids"], "attention_mask": given["attention_mask"], "labels": labels}


def _completion(row: Mapping[str, Any], tokenizer: Any) -> tuple[list[int], list[tuple[int, int]]]:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) and isinstance(completion, str):
        ids = _ended(tokenizer(prompt + completion)["input_ids"], tokenizer)
        # A token at the border may hold the end of one and the beginning of the other: it is scored.
        return ids, [(_shared(tokenizer(prompt)["input_ids"], ids[:-1]), len(ids))]
    if isinstance(prompt, str) or isinstance(completion, str):
        raise BadInput("One of prompt and completion is a text and the other a chat. Give two texts or two chats.")
    return _chat([*prompt, *completion], len(prompt), row, tokenizer)


def _chat(
    messages: Sequence[Mapping[str, Any]], first: int, row: Mapping[str, Any], tokenizer: Any
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return a chat's tokens and the answers in it from message ``first`` on."""

    def tokens(count: int, answer_next: bool = False) -> list[int]:
        try:
            made = tokenizer.apply_chat_template(
                list(messages[:count]), tools=row.get("tools"), add_generation_prompt=answer_next, return_dict=True
            )
        except Exception as error:  # a template is a program, and raises whatever it likes
            raise BadInput(f"The tokenizer's chat template cannot be applied: {str(error).splitlines()[0]}") from error
        return list(made["input_ids"])

    ids, scored = tokens(len(messages)), []
    for at in range(first, len(messages)):
        if messages[at]["role"] != "assistant":
            continue
        end = tokens(at + 1)
        befores = [tokens(at, answer_next=True), *([tokens(at)] if at else [])]
        before = next((each for each in befores if end[: len(each)] == each), None)
        if before is None or ids[: len(end)] != end:
            raise BadInput(
                "The tokenizer's chat template changes earlier messages as a chat goes on, so it does not tell which "
                "tokens are the answer. Give rows with input_ids and labels that are -100 over what is given."
            )
        scored.append((len(before), len(end)))
    return ids, scored


def _ended(ids: list[int], tokenizer: Any) -> list[int]:
    end = tokenizer.eos_token_id
    return [*ids, end] if end is not None and ids[-1:] != [end] else list(ids)


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
