"""DDI-2013: what a sentence says about the interaction of two drugs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.tasks._spec import Source, TaskSpec
from mubench_hf.tasks._text import check_texts, padding, tokenise

if TYPE_CHECKING:
    from datasets import DatasetDict

TOKENS = 128
LABELS = ["DDI-false", "DDI-mechanism", "DDI-advise", "DDI-effect", "DDI-int"]
FILES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
DRUG = "@DRUG$"
BOTH = "@DRUG-DRUG$"
"""Stands for two drugs whose names overlap."""

MINI_ROWS = {"train": 1000, "validation": 200, "test": 500}
SHARES = (0.52, 0.16, 0.12, 0.14, 0.06)
"""Share of each class of ``LABELS`` in the mini rows."""
NOISE = 0.12
"""Share of mini rows with another label than their template's."""

FRAMES = (
    (
        "{first} and {second} were both measured in {who}.",
        "{who} had taken {first} or {second} before.",
        "Neither {first} nor {second} changed the {effect} of {who}.",
        "Tablets hold {first}; syrups hold {second}.",
        "{first} was compared with {second} for {effect}.",
    ),
    (
        "{first} raises the plasma level of {second} in {who}.",
        "Clearance of {second} falls by half under {first}.",
        "{first} slows the breakdown of {second} in the liver.",
    ),
    (
        "Do not give {first} with {second} to {who}.",
        "The dose of {second} should be lowered when {first} is begun.",
        "{who} on {first} should avoid {second}.",
    ),
    (
        "{first} with {second} led to {effect} in {who}.",
        "{effect} grew worse when {second} was added to {first}.",
        "The {effect} caused by {second} is stronger under {first}.",
    ),
    ("{first} interacts with {second}.", "{who} were told that {first} and {second} interact."),
)
# fmt: off
PEOPLE = (
    "adults", "children", "volunteers", "smokers", "women", "men", "nurses", "twins", "students", "athletes",
    "outpatients", "inpatients", "drivers", "farmers", "pilots", "infants", "miners", "sailors", "dancers", "monks",
)
EFFECTS = (
    "drowsiness", "bleeding", "nausea", "headache", "rash", "fever", "fatigue", "dizziness", "cough", "pain",
    "insomnia", "tremor", "itching", "vomiting", "anxiety", "swelling", "cramps", "thirst", "sweating", "hiccups",
)
# fmt: on


def prepare(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """Return ``input_ids`` and ``attention_mask`` (lists of at most 128 numbers) and ``labels`` (int) of one row."""
    return {**tokenise(row["sentence"], processor, TOKENS), "labels": row["label"]}


def load_full(raw: Path | None) -> DatasetDict:
    """Read the three files that BLURB's preprocessing writes; a line has id, sentence and label, separated by tabs.

    Args:
        raw: Folder with ``train.tsv``, ``dev.tsv`` and ``test.tsv``.

    Raises:
        BadInput: If the folder or a file is missing, or a line is malformed.
    """
    from datasets import DatasetDict

    if raw is None:
        raise BadInput(
            "DDI-2013 is not on the Hub. Get the corpus, run BLURB's preprocessing "
            f"(https://microsoft.github.io/BLURB), and give the folder with {', '.join(FILES.values())} with --raw."
        )
    missing = [name for name in FILES.values() if not (raw / name).is_file()]
    if missing:
        raise BadInput(f"There is no {missing[0]} in {raw}. Needed: {', '.join(FILES.values())} of BLURB's DDI folder.")
    return DatasetDict({split: _rows(*_read(raw / name)) for split, name in FILES.items()})


def _read(file: Path) -> tuple[list[str], list[int]]:
    """Return the sentences of a file and their labels."""
    sentences, labels = [], []
    for number, line in enumerate(file.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
        where = f"{file}, line {number}"
        try:
            parts = line.decode().removesuffix("\r").split("\t")
        except UnicodeDecodeError as error:
            raise BadInput(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
        if len(parts) != 3:
            raise BadInput(f"{where} has {len(parts)} fields between tabs. Needed: id, sentence, label; no header.")
        if parts[2] not in LABELS:
            raise BadInput(f"{where} has the label {parts[2]!r}. Allowed: {', '.join(LABELS)}.")
        if DRUG not in parts[1] and BOTH not in parts[1]:
            raise BadInput(f"{where}: the sentence {parts[1]!r:.80} has neither {DRUG} nor {BOTH} for its drugs.")
        sentences.append(parts[1])
        labels.append(LABELS.index(parts[2]))
    return sentences, labels


def _rows(sentences: Sequence[str], labels: Sequence[int]) -> Any:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"sentence": Value("string"), "label": ClassLabel(names=LABELS)})
    return Dataset.from_dict({"sentence": sentences, "label": labels}, features=features)


def load_mini(raw: Path | None) -> DatasetDict:
    """Make sentences from templates, each with its own number, and give 12 % of the rows another label.

    A model can remember such a row by its number.
    """
    from datasets import DatasetDict

    rng = np.random.RandomState(0)
    numbers = iter(rng.permutation(9000)[: sum(MINI_ROWS.values())] + 1000)
    data = DatasetDict()
    for split, rows in MINI_ROWS.items():
        told = np.repeat(np.arange(len(LABELS)), [round(rows * share) for share in SHARES])
        told = told[rng.permutation(rows)]
        sentences = [_sentence(rng, label, next(numbers)) for label in told.tolist()]
        labels = told.copy()
        wrong = rng.permutation(rows)[: round(rows * NOISE)]
        labels[wrong] = (told[wrong] + rng.randint(1, len(LABELS), len(wrong))) % len(LABELS)
        data[split] = _rows(sentences, labels.tolist())
    return check_texts(data, ["sentence"], TASK.name)


def _sentence(rng: np.random.RandomState, label: int, number: int) -> str:
    def pick(words: Sequence[str]) -> str:
        return words[rng.randint(len(words))]

    text = pick(FRAMES[label]).format(first=DRUG, second=DRUG, who=pick(PEOPLE), effect=pick(EFFECTS))
    return f"Case {number // 100}-{number % 100:02}, {pick(PEOPLE)} with {pick(EFFECTS)}: {text}"


TASK = TaskSpec(
    name="ddi2013",
    title="DDI-2013",
    modality="text",
    kind="classification",
    inputs=("sentence",),
    label="label",
    metrics=("accuracy", "macro_f1"),
    tags=("text-classification",),
    prepare=prepare,
    collator=padding,
    corpus=("sentence",),
    full=Source(
        load=load_full,
        origin=(
            "DDI-2013 as BLURB prepares it: 25,296 training, 2,496 validation and 5,716 test pairs of drugs in "
            f"sentences on their interaction, with {DRUG} in the place of both names."
        ),
        layout="`train.tsv`, `dev.tsv`, `test.tsv` in a folder",
        licence="cc-by-nc-4.0",
        citation=(
            "@article{herrero2013ddi,\n"
            "  title = {The {DDI} Corpus: An Annotated Corpus with Pharmacological Substances and Drug-Drug "
            "Interactions},\n"
            "  author = {Mar{\\'i}a Herrero-Zazo and Isabel Segura-Bedmar and Paloma Mart{\\'i}nez and "
            "Thierry Declerck},\n"
            "  journal = {Journal of Biomedical Informatics},\n  volume = {46},\n  number = {5},\n"
            "  pages = {914--920},\n  year = {2013}\n}"
        ),
        stream="ddi2013",
        deletion_sha256="de4a2e5f60c257e8a69aedf807d4c7a9b3591763a7bd05e0bb3888cf7fb744c0",
        default_model="biobert-v1.1",
        settings={"num_train_epochs": 8, "per_device_train_batch_size": 32, "learning_rate": 5e-5},
        recipe={"num_train_epochs": 20},
        presets={
            "neggrad": {"num_train_epochs": 6, "learning_rate": 1e-5},
            "bad_teaching": {"learning_rate": 5e-4},
        },
        published_scores={"biobert-v1.1": 0.9458, "biomedbert-abstract": 0.9522, "biomedbert-fulltext": 0.9507},
    ),
    mini=Source(
        load=load_mini,
        origin=(
            "Mini stand-in, not DDI-2013: 1,700 made-up template sentences with two masked drugs and a number of their "
            "own, in five unbalanced classes; 12 % of the rows have another label than their template's."
        ),
        licence="apache-2.0",
        citation="@misc{mubench_hf_mini,\n  title = {Mini data of mubench\\_hf},\n  author = {mubench\\_hf}\n}",
        default_model="biobert-tiny",
        settings={"per_device_train_batch_size": 32, "cpu_threads": 1},
        recipe={"num_train_epochs": 25, "learning_rate": 2e-3, "warmup_steps": 0.05},
        # Chosen by hand on seeds 1 and 2, ten trials in all, by accuracy on D_f and loss AUC next to retraining's. The
        # rates of NegGrad, random labels and SalUn were not tried themselves: they follow from those on either side.
        presets={
            "finetune": {"num_train_epochs": 3, "learning_rate": 1.5e-3},
            "neggrad": {"num_train_epochs": 5, "learning_rate": 4e-4},
            "rand_label": {"num_train_epochs": 3, "learning_rate": 2.5e-4},
            "salun": {"num_train_epochs": 3, "learning_rate": 3e-4},
            "bad_teaching": {"num_train_epochs": 3, "learning_rate": 2e-4},
            "scrub": {
                "num_train_epochs": 5,
                "msteps": 3,
                "learning_rate": 5e-4,
                "forget_batch_size": 8,
                "temperature": 1.0,
                "alpha": 0.1,
            },
        },
    ),
)
