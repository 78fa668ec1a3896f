"""Tasks made from a description, plain JSON, instead of a file: how any data become a task without Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks._prompts import instructed
from mubench_hf.tasks._spec import GivenRows, Source, TaskSpec
from mubench_hf.tasks._text import padding, tokenise
from mubench_hf.utils.registry import Origin

if TYPE_CHECKING:
    from datasets import DatasetDict

TEXT_TOKENS = 256
"""Most tokens of a text that is classified; fewer if the tokenizer says so."""

PROMPT_TOKENS, ANSWER_TOKENS = 256, 192
"""Most tokens of an instruction and of its answer; fewer if the tokenizer says so."""

SETTINGS = {
    "classification": {"num_train_epochs": 3, "per_device_train_batch_size": 16, "learning_rate": 5e-5},
    "causal_lm": {"num_train_epochs": 5, "per_device_train_batch_size": 8, "learning_rate": 1e-5},
    "seq2seq": {"num_train_epochs": 5, "per_device_train_batch_size": 8, "learning_rate": 5e-5},
}
"""Kind → settings of every run, those usual for fine-tuning a pretrained model; a description overrides them."""

RECIPE = {"warmup_steps": 0.1}
"""Settings of only the original: a tenth of its steps warm up."""

METRICS = {
    "classification": ("accuracy",),
    "causal_lm": ("rouge_l", "token_accuracy", "reference_probability"),
    "seq2seq": ("rouge_l", "token_accuracy", "reference_probability"),
}
TAGS = {
    "classification": "{modality}-classification",
    "causal_lm": "text-generation",
    "seq2seq": "text2text-generation",
}

FROM_DATA = "data:"
"""What the origin of a described task starts with; what its data are called follows."""

# fmt: off
FIELDS = frozenset((
    "name", "kind", "modality", "inputs", "label", "data", "hub_id", "data_sha256", "test", "forget", "seconds",
    "settings", "recipe",
))
# fmt: on
"""What a description says:

- ``name``, ``kind``, ``modality``, ``inputs``, ``label``: as in ``TaskSpec``;
- ``data``: name of the data; ``hub_id``: their data set on the Hub, or ``None``;
- ``data_sha256``: hash of the rows in the task's columns, see ``data/reading.py``;
- ``test``: a sentence on where the test rows come from;
- ``forget``: ``None`` for the benchmark's rule, else ``text`` and ``rows`` of ``GivenRows``;
- ``seconds``: for sounds, the length of each;
- ``settings``, ``recipe``: overrides of ``SETTINGS`` and ``RECIPE``;
- ``chat``, for ``causal_lm`` alone: whether a model is asked by its chat template; one that does not say it means no.
"""


def described_task(
    description: Mapping[str, Any], load: Callable[[Path | None], DatasetDict] | None = None
) -> TaskSpec:
    """Return the task made from a description.

    Args:
        description: See ``FIELDS``.
        load: Returns its rows; without it, the task can be used only if its data set is built.

    Raises:
        BadInput: If the description is not one from which this version makes tasks.
    """
    kind, modality = description.get("kind"), description.get("modality")
    ways = {("classification", "text"): (_classified_text, _padding), ("classification", "image"): (_image, None),
            ("classification", "audio"): (_sound, None), ("causal_lm", "text"): (_continued, _fill_after),
            ("seq2seq", "text"): (_answered, _fill_targets)}  # fmt: skip
    if set(description) - {"chat"} != FIELDS or (kind, modality) not in ways:
        raise BadInput(
            f"The description of the task {description.get('name')!r} has the fields {', '.join(sorted(description))}, "
            f"kind {kind!r} and modality {modality!r}. Another version wrote it: build the data set again."
        )
    prepare, collator = ways[kind, modality]
    inputs, label, given = tuple(description["inputs"]), description["label"], description["forget"]
    shared = {"inputs": inputs, "label": label}
    if modality == "audio":
        shared["seconds"] = description["seconds"]
    if kind == "causal_lm":
        shared["chat"] = description.get("chat", False)
    texts = modality == "text"
    writes = kind != "classification"
    return TaskSpec(
        name=description["name"],
        title=description["name"],
        modality=modality,
        kind=kind,
        inputs=inputs,
        label=label,
        metrics=METRICS[kind],
        tags=(TAGS[kind].format(modality=modality),),
        prepare=partial(prepare, **shared),
        full=Source(
            load=load or partial(_no_rows, name=description["name"]),
            origin=f"Rows of {description['data']}; test rows: {description['test']}.",
            licence="unknown",
            citation="% No citation is known for these rows.",
            default_model=None,
            hub_id=description["hub_id"],
            forget=GivenRows(given["text"], tuple(given["rows"])) if given else None,
            settings={**SETTINGS[kind], **description["settings"]},
            recipe={**RECIPE, **description["recipe"]},
        ),
        mini=None,
        collator=collator,
        corpus=(*inputs, label) if writes else inputs if texts else (),
        max_target_tokens=ANSWER_TOKENS if writes else None,
        description=json.loads(json.dumps(dict(description))),
    )


def description_origin(task: TaskSpec) -> Origin | None:
    """Return what runs record about a described task: the name of its data, and a hash of its description."""
    if task.description is None:
        return None
    text = json.dumps(dict(task.description), sort_keys=True)
    return Origin(f"{FROM_DATA}{task.description['data']}", hashlib.sha256(text.encode()).hexdigest())


def _no_rows(raw: Path | None, name: str) -> DatasetDict:
    raise BadInput(f"The rows of {name} are not here: only its built data set is known. Give --data again.")


# How a row becomes a model's input ------------------------------------------------------------------------------------


def _joined(row: Mapping[str, Any], inputs: tuple[str, ...]) -> str:
    return "\n".join(row[name] for name in inputs)


def _most(processor: Any, tokens: int) -> int:
    return min(tokens, getattr(processor, "model_max_length", tokens))


def _tokenizer(processor: Any) -> Any:
    return getattr(processor, "tokenizer", processor)


def _classified_text(row: Mapping[str, Any], processor: Any, inputs: tuple[str, ...], label: str) -> dict[str, Any]:
    """Return a text's tokens and its class; several columns are joined by line breaks."""
    tokenizer = _tokenizer(processor)
    return {**tokenise(_joined(row, inputs), tokenizer, _most(tokenizer, TEXT_TOKENS)), "labels": row[label]}


def _padding(processor: Any) -> Any:
    tokenizer = _tokenizer(processor)
    if tokenizer.pad_token_id is None:
        raise BadInput(
            "The model's tokenizer has no pad token, so texts cannot be batched. Set tokenizer.pad_token and "
            "model.config.pad_token_id, save both, and use that folder."
        )
    return padding(tokenizer)


def _image(row: Mapping[str, Any], processor: Any, inputs: tuple[str, ...], label: str) -> dict[str, Any]:
    """Return an image's ``pixel_values``, float tensor ``[channels, height, width]``, and its class."""
    processor = getattr(processor, "image_processor", processor)
    pixels = processor(row[inputs[0]].convert("RGB"), return_tensors="pt")["pixel_values"][0]
    return {"pixel_values": pixels, "labels": row[label]}


def _sound(
    row: Mapping[str, Any], processor: Any, inputs: tuple[str, ...], label: str, seconds: float
) -> dict[str, Any]:
    """Return a sound's features, float tensor, and its class.

    Channels are averaged, the sound is resampled to the model's rate, and cut or padded with silence, so that a model's
    output on a row never depends on the other rows of its batch.
    """
    import numpy as np
    from scipy.signal import resample_poly

    from mubench_hf.tasks._sounds import read_sound

    processor, stored = getattr(processor, "feature_extractor", processor), row[inputs[0]]
    try:
        sound, rate = read_sound(stored["path"] if stored["bytes"] is None else stored["bytes"])
    except ValueError as error:
        raise BadInput(f"Row {row.get('index')}: column {inputs[0]!r} cannot be decoded: {error}.") from error
    sound, needed = sound.mean(1), processor.sampling_rate
    if rate != needed:
        sound = resample_poly(sound, needed, rate).astype(np.float32)  # scipy divides by the common factor itself.
    samples = round(seconds * needed)
    sound = np.pad(sound[:samples], (0, max(0, samples - len(sound))))
    name = processor.model_input_names[0]
    return {name: processor(sound, sampling_rate=needed, return_tensors="pt")[name][0], "labels": row[label]}


def _continued(
    row: Mapping[str, Any], processor: Any, inputs: tuple[str, ...], label: str, chat: bool
) -> dict[str, Any]:
    """Return instruction and answer as one list of tokens, see ``instructed``; labels are -100 up to the answer."""
    tokenizer = _tokenizer(processor)
    half = _most(tokenizer, PROMPT_TOKENS + ANSWER_TOKENS) // 2
    lengths = {"prompt_tokens": min(PROMPT_TOKENS, half), "answer_tokens": min(ANSWER_TOKENS, half)}
    return instructed(tokenizer, _joined(row, inputs), row[label], **lengths, chat=chat)


def _fill_after(processor: Any) -> Any:
    from mubench_hf.tasks.celeb_profile import collator

    return collator(_tokenizer(processor))


def _answered(row: Mapping[str, Any], processor: Any, inputs: tuple[str, ...], label: str) -> dict[str, Any]:
    """Return the tokens of instruction and answer, each cut off if too long."""
    tokenizer = _tokenizer(processor)
    text = tokenizer(_joined(row, inputs), truncation=True, max_length=_most(tokenizer, PROMPT_TOKENS))
    target = tokenizer(text_target=row[label], truncation=True, max_length=_most(tokenizer, ANSWER_TOKENS))
    return {**{name: text[name] for name in ("input_ids", "attention_mask")}, "labels": target["input_ids"]}


def _fill_targets(processor: Any) -> Any:
    from mubench_hf.tasks.samsum import collator

    return collator(_tokenizer(processor))
