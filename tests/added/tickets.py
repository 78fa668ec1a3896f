"""Support tickets: what a customer writes about. A whole task, which the tests add to a copy of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks._spec import Source, TaskSpec
from mubench_hf.tasks._text import check_texts, padding, tokenise

if TYPE_CHECKING:
    from datasets import DatasetDict

TOKENS = 32
LABELS = ("billing", "delivery", "login")
MINI_ROWS = {"train": 300, "test": 90}

OPENINGS = ("Hello, ", "Please help: ", "Again, ", "Since Monday ", "As I wrote before, ")
COMPLAINTS = (
    ("the invoice is wrong", "I was charged twice", "my refund is missing", "the price is not what I paid"),
    ("the parcel is late", "the courier left nothing", "a box came open", "the wrong lamp was sent"),
    ("my password fails", "the code never comes", "I am locked out", "the page asks me to sign in for ever"),
)


def prepare(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """Return ``input_ids`` and ``attention_mask`` (lists of at most 32 numbers) and ``labels`` (int) of one row."""
    return {**tokenise(row["text"], processor, TOKENS), "labels": row["label"]}


def load_full(raw: Path | None) -> DatasetDict:
    """Read ``train.csv`` and ``test.csv``, with the columns ``text`` and ``label``, from a folder.

    Raises:
        BadInput: If there is no folder, or a file of it is missing.
    """
    from datasets import Dataset, DatasetDict

    files = {split: raw and raw / f"{split}.csv" for split in MINI_ROWS}
    for split, file in files.items():
        if not (file and file.is_file()):
            raise BadInput(f"There is no {split}.csv. Needed: a folder with train.csv and test.csv, given by --raw.")
    features = _features()
    data = {split: Dataset.from_csv(str(file)).cast(features) for split, file in files.items()}
    return check_texts(DatasetDict(data), ["text"], TASK.name)


def load_mini(raw: Path | None) -> DatasetDict:
    """Make tickets of an opening and a complaint; the complaint tells the class."""
    from datasets import Dataset, DatasetDict

    data = {}
    for split, rows in MINI_ROWS.items():
        labels = [row % len(LABELS) for row in range(rows)]
        texts = [
            f"{OPENINGS[row % 5]}{COMPLAINTS[label][row // 3 % 4]}. Ticket {row} of {split}."
            for row, label in enumerate(labels)
        ]
        data[split] = Dataset.from_dict({"text": texts, "label": labels}, features=_features())
    return DatasetDict(data)


def _features() -> Any:
    from datasets import ClassLabel, Features, Value

    return Features({"text": Value("string"), "label": ClassLabel(names=list(LABELS))})


TASK = TaskSpec(
    name="tickets",
    title="Tickets",
    modality="text",
    kind="classification",
    inputs=("text",),
    label="label",
    metrics=("accuracy",),
    tags=("text-classification",),
    prepare=prepare,
    collator=padding,
    corpus=("text",),
    full=Source(
        load=load_full,
        origin="Support tickets of a shop, from a folder with train.csv and test.csv.",
        licence="other",
        citation="@misc{tickets,\n  title = {Support tickets}\n}",
        default_model="bert-base",
        settings={"per_device_train_batch_size": 32, "learning_rate": 5e-5},
        recipe={"num_train_epochs": 3},
    ),
    mini=Source(
        load=load_mini,
        origin="Mini stand-in, no real tickets: 390 made-up lines of an opening and a complaint.",
        licence="apache-2.0",
        citation="@misc{mubench_hf_mini,\n  title = {Mini data of mubench\\_hf},\n  author = {mubench\\_hf}\n}",
        default_model="bert-tiny",
        settings={"per_device_train_batch_size": 32, "cpu_threads": 1},
        recipe={"num_train_epochs": 3, "learning_rate": 2e-3},
    ),
)
