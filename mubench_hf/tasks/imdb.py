"""IMDb: whether a film review is negative or positive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.tasks._spec import Source, TaskSpec
from mubench_hf.tasks._text import check_texts, padding, tokenise

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

TOKENS = 128
LABELS = ["neg", "pos"]
SPLITS = ("train", "test")

OOD = "cornell-movie-review-data/rotten_tomatoes"
OOD_REVISION = "aa13bc287fa6fcab6daf52f0dfb9994269ffea28"
OOD_SPLITS = ("train", "validation", "test")

MINI_ROWS = {"train": 1000, "test": 500}
MINI_OOD_ROWS = 200
AGREE = 0.78
"""Share of a mini review's opinions that agree with its label."""
SENTENCES = 3

# fmt: off
OPINIONS = (
    (
        "dull", "weak", "clumsy", "lifeless", "tedious", "awful", "shallow", "bland", "messy", "forced", "stale",
        "grating", "hollow", "sloppy", "lazy", "flat", "limp", "wooden", "dreary", "trite", "feeble", "lame", "soggy",
        "vapid", "garbled", "plodding", "smug", "shrill", "muddled", "listless",
    ),
    (
        "superb", "lively", "moving", "clever", "gripping", "warm", "inventive", "graceful", "sharp", "tender",
        "rich", "dazzling", "brisk", "witty", "radiant", "elegant", "fresh", "bold", "vivid", "sincere", "touching",
        "poised", "deft", "luminous", "playful", "supple", "thrilling", "exact", "wry", "honest",
    ),
)
ASPECTS = (
    "plot", "script", "cast", "lead", "ending", "opening", "score", "dialogue", "pacing", "camera", "lighting",
    "costumes", "villain", "romance", "humour", "editing", "narrator", "finale", "soundtrack", "staging", "subplot",
    "prologue", "makeup", "twist",
)
FRAMES = (
    "The {aspect} is {opinion}.",
    "I found the {aspect} {degree} {opinion}.",
    "Its {aspect} felt {opinion} to me.",
    "What a {opinion} {aspect}!",
    "My sister called the {aspect} {opinion}.",
    "After an hour the {aspect} turns {degree} {opinion}.",
    "Nobody told me the {aspect} would be so {opinion}.",
    "Watch how {opinion} the {aspect} gets.",
)
OOD_FRAMES = ("{opinion} {aspect}, {opinion2} {aspect2}", "a {opinion} film with a {degree} {opinion2} {aspect}")
DEGREES = ("rather", "truly", "quite", "utterly", "mostly", "strangely")
# fmt: on


def prepare(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """Return ``input_ids`` and ``attention_mask`` (lists of at most 128 numbers) and ``labels`` (int) of one row."""
    return {**tokenise(row["text"], processor, TOKENS), "labels": row["label"]}


def load_full(raw: Path | None) -> DatasetDict:
    """Read IMDb, and Rotten Tomatoes as ``ood``, from the Hub or from copies of both in ``raw``.

    Args:
        raw: Folder that holds the parquet files of the two Hub data sets below ``imdb`` and ``rotten_tomatoes``.

    Raises:
        BadInput: If a split is missing, or has other columns or classes, or a text is empty.
    """
    from datasets import DatasetDict, concatenate_datasets, load_dataset

    if raw is None:
        imdb = load_dataset(TASK.full.hub_id, "plain_text", revision=TASK.full.commit())
        ood = load_dataset(OOD, revision=OOD_REVISION)
    else:
        imdb, ood = _copy(raw / "imdb", SPLITS), _copy(raw / "rotten_tomatoes", OOD_SPLITS)
    train, test = _splits(TASK.full.hub_id, imdb, SPLITS)
    data = DatasetDict(train=train, test=test, ood=concatenate_datasets(_splits(OOD, ood, OOD_SPLITS)))
    return check_texts(data, ["text"], TASK.name)


def _copy(folder: Path, splits: tuple[str, ...]) -> DatasetDict:
    """Return the splits of a copied Hub data set, whatever its card says."""
    from datasets import Dataset, DatasetDict

    files = {split: [str(file) for file in sorted(folder.rglob(f"{split}*.parquet"))] for split in splits}
    for split, found in files.items():
        if not found:
            raise BadInput(
                f"There is no {split}*.parquet below {folder}. Needed in {folder.parent}: imdb and rotten_tomatoes, "
                f"copies of the Hub data sets {TASK.full.hub_id} and {OOD}."
            )
    return DatasetDict({split: Dataset.from_parquet(found) for split, found in files.items()})


def _splits(name: str, data: DatasetDict, splits: tuple[str, ...]) -> list[Dataset]:
    """Return the splits of an upstream data set, all with the same features."""
    from datasets import ClassLabel, Features, Value

    for split in splits:
        if split not in data:
            raise BadInput(f"{name} has the splits {', '.join(data)}. Needed: {', '.join(splits)}.")
        found = data[split].features
        if "text" not in found or getattr(found.get("label"), "names", None) != LABELS:
            raise BadInput(
                f"Split {split!r} of {name} has the features {found}. Needed: text, and label with the classes "
                f"{', '.join(LABELS)}."
            )
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABELS)})
    return [data[split].select_columns(["text", "label"]).cast(features) for split in splits]


def load_mini(raw: Path | None) -> DatasetDict:
    """Make reviews of three template sentences, negative ones first, and as ``ood`` one-liners of other templates.

    Each opinion agrees with the label only with probability 0.78, so that the words do not settle a review's label.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    rng = np.random.RandomState(0)
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABELS)})

    def make(rows: int, frames: tuple[str, ...], sentences: int) -> Dataset:
        labels = [0] * (rows // 2) + [1] * (rows - rows // 2)
        texts = [" ".join(_sentence(rng, frames, label) for _ in range(sentences)) for label in labels]
        return Dataset.from_dict({"text": texts, "label": labels}, features=features)

    data = DatasetDict({split: make(rows, FRAMES, SENTENCES) for split, rows in MINI_ROWS.items()})
    data["ood"] = make(MINI_OOD_ROWS, OOD_FRAMES, 1)
    return check_texts(data, ["text"], TASK.name)


def _sentence(rng: np.random.RandomState, frames: tuple[str, ...], label: int) -> str:
    def pick(words: tuple[str, ...]) -> str:
        return words[rng.randint(len(words))]

    def opinion() -> str:
        return pick(OPINIONS[label if rng.random_sample() < AGREE else 1 - label])

    return pick(frames).format(
        aspect=pick(ASPECTS), aspect2=pick(ASPECTS), opinion=opinion(), opinion2=opinion(), degree=pick(DEGREES)
    )


TASK = TaskSpec(
    name="imdb",
    title="IMDb",
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
        origin=(
            "IMDb, 25,000 training and 25,000 test film reviews, half of them negative; out of distribution: the "
            f"10,662 sentences of Rotten Tomatoes ({OOD} at {OOD_REVISION[:12]}), training, validation, test."
        ),
        layout="parquet, negative rows first, with the unused split `unsupervised`; Rotten Tomatoes beside it",
        licence="other",
        citation=(
            "@inproceedings{maas2011learning,\n"
            "  title = {Learning Word Vectors for Sentiment Analysis},\n"
            "  author = {Andrew L. Maas and Raymond E. Daly and Peter T. Pham and Dan Huang and Andrew Y. Ng and "
            "Christopher Potts},\n"
            "  booktitle = {Proceedings of the 49th Annual Meeting of the Association for Computational Linguistics},\n"
            "  pages = {142--150},\n  year = {2011}\n}\n"
            "@inproceedings{pang2005seeing,\n"
            "  title = {Seeing Stars: Exploiting Class Relationships for Sentiment Categorization with Respect to "
            "Rating Scales},\n"
            "  author = {Bo Pang and Lillian Lee},\n"
            "  booktitle = {Proceedings of the 43rd Annual Meeting of the Association for Computational Linguistics},\n"
            "  pages = {115--124},\n  year = {2005}\n}"
        ),
        hub_id="stanfordnlp/imdb",
        revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        stream="imdb",
        deletion_sha256="f40dab2edd89eda908a81acf08f79d591d658e458e9a1461236d9ecbfa9711d9",
        default_model="bert-base",
        settings={"per_device_train_batch_size": 32, "learning_rate": 5e-5},
        recipe={"num_train_epochs": 20},
        presets={
            "finetune": {"num_train_epochs": 6},
            "neggrad": {"num_train_epochs": 12, "learning_rate": 5e-6},
            "rand_label": {"num_train_epochs": 6},
            "bad_teaching": {"num_train_epochs": 10, "learning_rate": 1e-4},
            "scrub": {"num_train_epochs": 6},
            "salun": {"num_train_epochs": 6},
        },
        published_scores={
            "bert-base": 0.88608,
            "bert-large": 0.89004,
            "roberta-base": 0.90164,
            "roberta-large": 0.9126,
            "electra-base": 0.90932,
        },
        differs=("NegGrad has one rate, 5e-6; MU-Bench's at the ratio of 2 % is 1e-5.",),
    ),
    mini=Source(
        load=load_mini,
        origin=(
            "Mini stand-in, not IMDb: 1,500 made-up reviews of three template sentences each, whose opinions agree "
            "with the label with probability 0.78; out of distribution: 200 one-liners of other templates."
        ),
        licence="apache-2.0",
        citation="@misc{mubench_hf_mini,\n  title = {Mini data of mubench\\_hf},\n  author = {mubench\\_hf}\n}",
        default_model="bert-tiny",
        settings={"per_device_train_batch_size": 32, "cpu_threads": 1},
        recipe={"num_train_epochs": 15, "learning_rate": 2e-3, "warmup_steps": 0.05},
        # Chosen by hand on seed 1 alone, one or two rates per method, by accuracy on D_f and loss AUC next to
        # retraining's; NegGrad's lies between the two that were tried, since nothing holds its test accuracy.
        presets={
            "finetune": {"num_train_epochs": 3, "learning_rate": 2e-3},
            "neggrad": {"num_train_epochs": 5, "learning_rate": 4e-4},
            "rand_label": {"num_train_epochs": 3, "learning_rate": 5e-4},
            "salun": {"num_train_epochs": 3, "learning_rate": 4e-4},
            "bad_teaching": {"num_train_epochs": 3, "learning_rate": 5e-4},
            "scrub": {
                "num_train_epochs": 5,
                "msteps": 3,
                "learning_rate": 1e-3,
                "forget_batch_size": 8,
                "temperature": 1.0,
                "alpha": 0.1,
            },
        },
    ),
)
