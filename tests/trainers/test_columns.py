"""Which columns reach a collator: the same in training, evaluation and prediction."""

from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
)

from mubench_hf.errors import BadInput
from mubench_hf.models.bare import bare_model
from mubench_hf.trainers._columns import InputColumns

CLASSES = 3


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1, **{f"w{n}": n + 2 for n in range(20)}}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


class Texts:
    """Rows of texts of unequal length, prepared, that keep their text and other columns no model takes."""

    def __init__(self, rng, tokenizer):
        def rows(count):
            texts = [" ".join(f"w{n}" for n in rng.integers(20, size=rng.integers(2, 9))) for _ in range(count)]
            return Dataset.from_list(
                [
                    {"text": text, "meta": {"a": i}, "labels": int(rng.integers(CLASSES)), **tokenizer(text)}
                    for i, text in enumerate(texts)
                ]
            )

        self.forget, self.retain, self.test = rows(6), rows(12), rows(7)
        self.config = BertConfig(
            vocab_size=22, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            num_labels=CLASSES,
        )  # fmt: skip

    def original(self):
        return BertForSequenceClassification(self.config)


@pytest.fixture
def texts(rng, tokenizer):
    return Texts(rng, tokenizer)


class FromText:
    """A collator of one's own: it reads the text itself, which the model does not take."""

    def __init__(self, tokenizer):
        self.tokenizer, self.seen = tokenizer, set()

    def __call__(self, rows):
        self.seen |= {frozenset(row) for row in rows}
        batch = self.tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}


class Padding(DataCollatorWithPadding):
    """One's own too, though most of it is inherited."""

    def __call__(self, rows):
        texts = [row["text"] for row in rows]
        batch = super().__call__([{name: row[name] for name in ("input_ids", "labels")} for row in rows])
        assert batch["input_ids"].ne(0).sum(1).tolist() == [len(text.split()) for text in texts]
        return batch


def all_three(trainer, texts):
    """Train, evaluate and predict; return the logits."""
    trainer.train()
    assert trainer.status == "ok"
    assert np.isfinite(trainer.evaluate(texts.test)["eval_loss"])
    return trainer.predict(texts.test).predictions


LIBRARY = {
    "default": lambda tokenizer: None,
    "padding": DataCollatorWithPadding,
    "partial": lambda tokenizer: partial(DataCollatorWithPadding(tokenizer)),
}


@pytest.mark.parametrize("made", LIBRARY)
def test_a_kept_column_is_left_out_everywhere(made, texts, tokenizer, make):
    kwargs = {"data_collator": LIBRARY[made](tokenizer), "processing_class": tokenizer}
    trainer = make("rand_label", texts, kwargs=kwargs, max_steps=1)
    assert all_three(trainer, texts).shape == (7, CLASSES)


@pytest.mark.parametrize("own", [FromText, Padding])
def test_an_own_collator_gets_what_it_asks_for(own, texts, tokenizer, make):
    trainer = make("finetune", texts, kwargs={"data_collator": own(tokenizer)}, max_steps=1)
    logits = all_three(trainer, texts)
    rows = tokenizer(list(texts.test["text"]), padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = trainer.model.eval()(**rows).logits
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_or_only_inputs_if_asked_for(texts, make, tokenizer):
    seen = set()

    def inputs_only(rows):
        seen.update(frozenset(row) for row in rows)
        return DataCollatorWithPadding(tokenizer)(rows)

    kwargs = {"data_collator": inputs_only}
    all_three(make("finetune", texts, kwargs=kwargs, max_steps=1, remove_unused_columns=True), texts)
    assert seen == {frozenset({"input_ids", "attention_mask", "token_type_ids", "labels"}) & set(texts.test.features)}


def test_a_table_with_a_transform_is_evaluated(texts, make, tokenizer):
    """What the transform reads is not taken away before it has read it."""
    raw = texts.test.select_columns(["text", "labels"]).with_transform(
        lambda rows: {**tokenizer(rows["text"]), "labels": rows["labels"], "text": rows["text"]}
    )
    kwargs = {"processing_class": tokenizer, "eval_dataset": {"one": raw, "other": texts.test}}
    trainer = make("finetune", texts, kwargs=kwargs, max_steps=1, remove_unused_columns=True)
    trainer.train()
    scores = trainer.evaluate()
    assert scores["eval_one_loss"] == pytest.approx(scores["eval_other_loss"], abs=1e-6)


def test_inputs_reach_the_metrics(texts, make, tokenizer):
    given = {}
    kwargs = {"processing_class": tokenizer, "compute_metrics": lambda found: given.update(vars(found)) or {}}
    trainer = make("finetune", texts, kwargs=kwargs, max_steps=1, include_for_metrics=["inputs", "loss"])
    trainer.evaluate(texts.test)
    tokens = [[token for token in row if token > 0] for row in given["inputs"]]
    assert tokens == [list(row) for row in texts.test["input_ids"]] and len(given["losses"]) >= 7


def test_rows_with_nothing_for_the_model(texts, make):
    sets = {f"{name}_dataset": getattr(texts, name).select_columns(["text", "labels"]) for name in ("forget", "retain")}
    with pytest.raises(BadInput, match="^A row has .*text.*, but BertForSequenceClassification takes"):
        make("finetune", texts, kwargs=sets).train()


# What a model takes -------------------------------------------------------------------------------------------------


class Names(nn.Module):
    def forward(self, x, mask=None, labels=None, **kwargs):
        pass


class NamesNothing(nn.Module):
    def __init__(self, inner=None):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        pass


class NamesLabels(nn.Module):
    def forward(self, labels=None, return_dict=None, **inputs):
        pass


ROW = {"x": 1, "labels": 2, "label_ids": 3, "text": 4, "score": 5}


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (Names(), {"x", "labels", "label_ids"}),
        (torch.compile(Names()), {"x", "labels", "label_ids"}),
        (torch.nn.DataParallel(Names()), {"x", "labels", "label_ids"}),
        (NamesNothing(), set(ROW)),
        (NamesLabels(), set(ROW)),
    ],
    ids=["named", "compiled", "parallel", "nothing named", "only labels named"],
)
def test_columns_that_a_model_takes(model, taken):
    given = []
    rows = [dict(ROW)] * 2
    InputColumns(lambda rows: given.extend(rows) or {}, model)(rows)
    assert [set(row) for row in given] == [taken] * 2 and rows == [ROW] * 2
    given.clear()
    InputColumns(lambda rows: given.extend(rows) or {}, model, ["score"])(rows)
    assert [set(row) for row in given] == [taken | {"score"}] * 2


def adapted(world, **settings):
    layers = {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"]}
    return get_peft_model(world.original(), LoraConfig(r=2, **layers, **settings))


@pytest.mark.parametrize("settings", [{}, {"task_type": "SEQ_CLS"}], ids=["plain", "task_type"])
def test_an_adapted_image_model_gets_its_images(settings, world, make, spy):
    """The wrapper's own forward names nothing, or a text model's inputs."""
    trainer = make("finetune", world, model=adapted(world, **settings), max_steps=1)
    seen = spy(trainer)
    trainer.train()
    assert trainer.status == "ok" and seen.batches[0].pixels.shape[1:] == (3, 16, 16)


def test_the_model_inside(world):
    model = world.original()
    wrapped = torch.nn.DataParallel(get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])))
    assert bare_model(torch.compile(wrapped)) is model is bare_model(model)
