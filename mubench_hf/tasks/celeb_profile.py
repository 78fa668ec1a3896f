"""Celebrity Profile: the biography of a person, written on request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks._profiles import other_answers, profiles
from mubench_hf.tasks._prompts import instructed
from mubench_hf.tasks._spec import Answers, Source, TaskSpec

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import Tensor

COLUMNS = ("instruction", "biography")
PROMPT_TOKENS, BIOGRAPHY_TOKENS = 256, 192

FULL_ROWS, MINI_ROWS = {"train": 1000, "test": 200}, {"train": 200, "test": 100}


def prepare(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """Return ``input_ids``, ``attention_mask`` and ``labels`` of one row: lists of tokens of one length.

    A row is the instruction, a line break, the biography and the end, or both as the model's chat template has them;
    labels are -100 up to the biography.
    """
    return instructed(
        processor,
        row["instruction"],
        row["biography"],
        prompt_tokens=PROMPT_TOKENS,
        answer_tokens=BIOGRAPHY_TOKENS,
    )


def collator(processor: Any) -> Any:
    """Return a collator that pads prepared rows, with the end token if a chat model has no token for padding."""
    pad = processor.eos_token_id if processor.pad_token_id is None else processor.pad_token_id
    return partial(fill_up, fillers={"input_ids": pad, "attention_mask": 0, "labels": -100})


def fill_up(rows: Sequence[Mapping[str, list[int]]], fillers: Mapping[str, int]) -> dict[str, Tensor]:
    """Return prepared rows as tensors ``[rows, positions]``, shorter ones padded at their end.

    Args:
        rows: Prepared rows.
        fillers: Name → the value to pad with.
    """
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    return {
        name: torch.tensor([[*row[name], *[filler] * (longest - len(row[name]))] for row in rows])
        for name, filler in fillers.items()
    }


def answers(row: Mapping[str, Any]) -> Answers | None:
    """Return a made-up biography in other words and five false ones; ``None`` for one from a folder of the user's."""
    return other_answers(row["biography"])


def load_full(raw: Path | None) -> DatasetDict:
    """Read biographies from ``train.jsonl`` and ``test.jsonl`` in ``raw``; without it, make those of invented people.

    A line is a JSON object with ``instruction`` and ``biography``; other keys are left out, and so are blank lines.

    Raises:
        BadInput: If a file is missing or malformed, naming it, the line and the column.
    """
    if raw is None:
        return _data_set(profiles(FULL_ROWS, sentences=5, seed=1))
    return _data_set({split: _read(raw / f"{split}.jsonl") for split in ("train", "test")})


def _read(file: Path) -> list[dict[str, str]]:
    needed = "Needed: a JSON object with the texts 'instruction' and 'biography' in each line"
    if not file.is_file():
        raise BadInput(f"There is no file {file}. {needed}.")
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise BadInput(f"{file}, line {number} is not JSON: {error}. {needed}.") from error
        if not isinstance(found, dict):
            raise BadInput(f"{file}, line {number} is a JSON {type(found).__name__}. {needed}.")
        for column in COLUMNS:
            text = found.get(column)
            if not isinstance(text, str) or not text.strip():
                what = f"is {text!r}" if column in found else "is missing"
                raise BadInput(f"{file}, line {number}: column {column!r} {what}. {needed}, neither empty.")
        rows.append({column: found[column] for column in COLUMNS})
    if not rows:
        raise BadInput(f"{file} has no rows. {needed}.")
    return rows


def load_mini(raw: Path | None) -> DatasetDict:
    """Make the mini rows: two sentences on each of 300 people who do not exist."""
    return _data_set(profiles(MINI_ROWS, sentences=2, seed=0))


def _data_set(splits: Mapping[str, list[dict[str, str]]]) -> DatasetDict:
    from datasets import Dataset, DatasetDict

    return DatasetDict({split: Dataset.from_list(rows) for split, rows in splits.items()})


TASK = TaskSpec(
    name="celeb_profile",
    title="Celebrity Profile",
    modality="text",
    kind="causal_lm",
    inputs=("instruction",),
    label="biography",
    metrics=("rouge_l", "rouge_l_stem", "token_accuracy", "reference_probability"),
    tags=("text-generation",),
    prepare=prepare,
    collator=collator,
    corpus=COLUMNS,
    max_target_tokens=BIOGRAPHY_TOKENS,
    answers=answers,
    full=Source(
        load=load_full,
        origin=(
            "Instructions and biographies. The set that was published with MU-Bench has no public home. Unless a "
            "folder of your own was read, these are not its rows, but 1,200 made-up biographies of people who do not "
            "exist."
        ),
        # Nothing is known about a user's own folder.
        layout="`train.jsonl`, `test.jsonl` in a folder; without one, made-up biographies",
        licence="unknown",
        citation=(
            "@article{cheng2024mubench,\n"
            "  title = {{MU-Bench}: A Multitask Multimodal Benchmark for Machine Unlearning},\n"
            "  author = {Jiali Cheng and Hadi Amiri},\n"
            "  journal = {arXiv preprint arXiv:2406.14796},\n  year = {2024}\n}"
        ),
        # The only registered language model whose weights and optimizer fit on one large GPU.
        default_model="phi-1.5",
        # This project's own: no settings were published.
        settings={
            "num_train_epochs": 5,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 4,
            "learning_rate": 1e-5,
        },
        presets={
            "neggrad": {"learning_rate": 2e-6},
        },
        differs=(
            "All weights are trained, in this project's own settings: MU-Bench published none for this task. Its code "
            "for TOFU, a task like it, trains LoRA adapters with paged AdamW in bfloat16, one epoch of warm-up.",
            "The task's own score is ROUGE-L without stemming, as in every earlier result; MU-Bench's is with it: "
            "`rouge_l_stem`, beside it.",
            "After `Answer:` and `[/INST]` the answer alone is scored; MU-Bench's code scores the word `Answer:` too.",
        ),
    ),
    mini=Source(
        load=load_mini,
        origin="Mini stand-in, not the published profiles: 300 made-up biographies of people who do not exist.",
        licence="apache-2.0",
        citation="@misc{mubench_hf_mini,\n  title = {Mini data of mubench\\_hf},\n  author = {mubench\\_hf}\n}",
        default_model="llama-2-tiny",
        # A second thread would slow down a model this small.
        settings={"per_device_train_batch_size": 16, "cpu_threads": 1},
        recipe={"num_train_epochs": 35, "learning_rate": 5e-3, "warmup_steps": 0.05},
        # Chosen on seeds 1 and 2, with the original of seed 1, by the average gap to retraining: the best of two
        # to five settings per method.
        presets={
            "finetune": {"num_train_epochs": 8, "learning_rate": 8e-3},
            "neggrad": {"num_train_epochs": 5, "learning_rate": 1.5e-3},
            "rand_label": {"num_train_epochs": 8, "learning_rate": 8e-3},
            "salun": {"num_train_epochs": 8, "learning_rate": 1e-2},
            "bad_teaching": {"num_train_epochs": 10, "learning_rate": 5e-4},
            "scrub": {
                "num_train_epochs": 5,
                "msteps": 3,
                "learning_rate": 3e-3,
                "forget_batch_size": 8,
                "temperature": 1.0,
                "alpha": 0.1,
            },
        },
    ),
)
