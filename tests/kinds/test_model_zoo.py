"""What models are: those of `transformers` and of users' own, extended, wrapped, or refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from kind_models import BERT, LLAMA
from methods import methods_for
from peft import IA3Config, LoraConfig, get_peft_model
from torch import nn
from transformers.modeling_outputs import CausalLMOutput, SequenceClassifierOutput

from mubench_hf.errors import BadInput
from mubench_hf.kinds import kind_of
from mubench_hf.trainers import get_method

VIT = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
DECODER = {"is_decoder": True, "add_cross_attention": True}
XLNET = {"vocab_size": 20, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}
START = {"pad_token_id": 0, "decoder_start_token_id": 1}


class MyLlama(hf.LlamaForCausalLM):
    """As users extend a class: other behaviour, the same task."""


class MyTagger(hf.RobertaForTokenClassification):
    """A tagger."""


class Net(hf.PreTrainedModel):
    """A classifier of one's own, on no list."""

    config_class = hf.BertConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed, self.out = nn.Embedding(20, 8), nn.Linear(8, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.out(self.embed(input_ids).mean(1))
        loss = None if labels is None else self.loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def loss(self, logits, labels):
        return nn.functional.cross_entropy(logits, labels)


class OwnConfig(hf.PreTrainedConfig):
    model_type = "writer_of_the_user"


class OwnWriter(hf.PreTrainedModel, hf.GenerationMixin):
    """A language model of one's own; it predicts the next token from the last alone."""

    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed, self.out = nn.Embedding(20, 8), nn.Linear(8, 20)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.out(self.embed(input_ids))
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)


def bert(**more):
    return hf.BertConfig(**BERT, **more)


def encoder_decoder(encoder, of, cls):
    return cls(of.from_encoder_decoder_configs(encoder, bert(**DECODER), **START))


def llama(cls=hf.LlamaForCausalLM):
    return cls(hf.LlamaConfig(**LLAMA))


KINDS = {
    "causal_lm": [
        lambda: llama(MyLlama),
        lambda: hf.BertLMHeadModel(bert(is_decoder=True)),
        lambda: nn.DataParallel(llama()),
        lambda: get_peft_model(llama(), LoraConfig(target_modules=["q_proj"], r=2)),
        lambda: get_peft_model(llama(MyLlama), LoraConfig(target_modules=["q_proj"], r=2, task_type="CAUSAL_LM")),
    ],
    "seq2seq": [
        lambda: encoder_decoder(bert(), hf.EncoderDecoderConfig, hf.EncoderDecoderModel),
        lambda: encoder_decoder(hf.ViTConfig(**VIT), hf.VisionEncoderDecoderConfig, hf.VisionEncoderDecoderModel),
    ],
    "classification": [
        lambda: hf.LlamaForSequenceClassification(hf.LlamaConfig(**LLAMA, num_labels=3)),
        lambda: Net(bert(num_labels=3)),
        lambda: get_peft_model(
            hf.BertForSequenceClassification(bert()),
            IA3Config(target_modules=["key"], feedforward_modules=[], task_type="SEQ_CLS"),
        ),
    ],
    "token_classification": [
        lambda: MyTagger(hf.RobertaConfig(**BERT)),
        lambda: hf.T5ForTokenClassification(hf.T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1)),
        lambda: get_peft_model(hf.BertForTokenClassification(bert()), LoraConfig(task_type="TOKEN_CLS")),
    ],
}


MADE = [pytest.param(kind, make, id=f"{kind}-{at}") for kind, makers in KINDS.items() for at, make in enumerate(makers)]


@pytest.mark.parametrize(("kind", "make"), MADE)
def test_told_by_the_class_and_those_it_extends(kind, make):
    assert kind_of(make()).key == kind


@pytest.mark.slow  # the first compiled model costs seconds
def test_told_inside_a_compiled_model():
    adapted = get_peft_model(llama(MyLlama), LoraConfig(target_modules=["q_proj"], r=2))
    assert kind_of(torch.compile(llama())).key == kind_of(torch.compile(adapted)).key == "causal_lm"


@pytest.mark.parametrize(
    ("fields", "label", "kind"),
    [
        ({}, 1, "classification"),
        ({}, torch.tensor(1), "classification"),
        ({}, np.int32(1), "classification"),
        ({}, None, "classification"),
        ({}, [0.0, 1.0], "multi_label"),
        ({}, torch.tensor([0.0, 1.0]), "multi_label"),
        ({}, np.ones(2, np.float16), "multi_label"),
        ({"num_labels": 1}, 1, "regression"),
        ({"num_labels": 1}, 0.5, "regression"),
        ({"problem_type": "regression"}, 1, "regression"),
        ({"problem_type": "multi_label_classification"}, None, "multi_label"),
    ],
)
def test_a_problem_is_inferred_as_by_transformers(fields, label, kind):
    for cls in (hf.BertForSequenceClassification, Net):
        assert kind_of(cls(bert(**fields)), label).key == kind


REFUSED = {
    "question answering": lambda: hf.BertForQuestionAnswering(bert()),
    "masked lm": lambda: hf.BertForMaskedLM(bert()),
    "multiple choice": lambda: hf.BertForMultipleChoice(bert()),
    "pretraining": lambda: hf.BertForPreTraining(bert()),
    "has no head": lambda: hf.BertModel(bert()),
    "is_decoder=True": lambda: hf.BertLMHeadModel(bert()),
    "ctc": lambda: hf.HubertForCTC(
        hf.HubertConfig(
            **BERT,
            conv_dim=(8,),
            conv_stride=(2,),
            conv_kernel=(3,),
            num_feat_extract_layers=1,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
        )  # fmt: skip
    ),
    "zero shot image classification": lambda: hf.CLIPModel(hf.CLIPConfig(text_config=BERT, vision_config=VIT)),
    "register it": lambda: hf.GPT2DoubleHeadsModel(hf.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2)),
    "problem_type='several'": lambda: hf.BertForSequenceClassification(bert(problem_type="several")),
    "has no config": lambda: nn.Linear(2, 2),
}


@pytest.mark.parametrize(("why", "make"), REFUSED.items(), ids=REFUSED)
def test_whatever_else_is_refused_with_what_is_supported(why, make):
    with pytest.raises(BadInput) as error:
        get_method("finetune")(make(), retain_dataset=[{"input_ids": [3], "labels": 0}])
    assert why in str(error.value) and "Supported kinds: causal_lm, classification, " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_that_is_registered_is_known():
    with pytest.raises(BadInput, match="AutoModelForCausalLM.register"):
        kind_of(OwnWriter(OwnConfig()))
    hf.AutoModelForCausalLM.register(OwnConfig, OwnWriter)
    try:
        assert kind_of(OwnWriter(OwnConfig())).key == "causal_lm"
        assert kind_of(type("Extended", (OwnWriter,), {})(OwnConfig())).key == "causal_lm"
    finally:
        del hf.AutoModelForCausalLM._model_mapping._extra_content[OwnConfig]


def rows_of(rng, label):
    ids = rng.integers(3, 19, (8, 6)).tolist()
    return [{"input_ids": row, "attention_mask": [1] * 6, "labels": label(rng)} for row in ids]


def trained(model, rows, folder, method="finetune"):
    trainer = get_method(method)
    args = trainer.config_class(
        str(folder), max_steps=1, use_cpu=True, cpu_threads=1, disable_tqdm=True, save_strategy="no", report_to="none",
        logging_strategy="no",
    )  # fmt: skip
    made = trainer(model, args, forget_dataset=rows[:3], retain_dataset=rows[3:])
    made.train()
    return made


class Doubled(Net):
    def loss(self, logits, labels):
        return 2 * super().loss(logits, labels)


class Smoothed(hf.BertForSequenceClassification):
    def forward(self, *args, labels=None, **kwargs):
        outputs = super().forward(*args, **kwargs)
        if labels is not None:
            outputs.loss = nn.functional.cross_entropy(outputs.logits, labels, label_smoothing=0.1)
        return outputs


class LastToken(hf.LlamaForCausalLM):
    """A language model that classifies."""

    def forward(self, input_ids, attention_mask=None, labels=None):
        outputs = super().forward(input_ids, attention_mask)
        return SequenceClassifierOutput(logits=outputs.logits[:, -1, :2])


class Positions(Net):
    def forward(self, input_ids, attention_mask=None, labels=None):
        return SequenceClassifierOutput(logits=self.out(self.embed(input_ids)))


class Headless(hf.BertModel):
    """No head, though of one's own."""


def one(rng):
    return int(rng.integers(2))


def each(rng):
    return rng.integers(3, 19, 6).tolist()


WRONG = {
    "a loss of its own": (lambda: Doubled(bert()), one, "but its own loss there is"),
    "smoothed": (lambda: Smoothed(bert()), one, "but its own loss there is"),
    "unshifted": (lambda: hf.XLNetLMHeadModel(hf.XLNetConfig(**XLNET)), each, "but its own loss there is"),
    "a writer that classifies": (lambda: llama(LastToken), one, r"logits of shape \[5, 2\] for labels of shape"),
    "logits at positions": (lambda: Positions(bert()), one, r"logits of shape \[5, 6, 2\]; expected \[rows, 2\]"),
    "no logits": (lambda: Headless(bert()), one, "no tensor called logits"),
    "no labels in batches": (lambda: Net(bert()), None, "no tensor called labels"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "label", "why"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_when_it_is_first_seen(make, label, why, rng, tmp_path):
    rows = rows_of(rng, label or one)
    if label is None:
        rows = [{name: value for name, value in row.items() if name != "labels"} for row in rows]
    with pytest.raises(BadInput, match=why):
        trained(make(), rows, tmp_path)


class Failing(Net):
    def loss(self, logits, labels):
        raise TypeError("no such loss")


def test_a_model_that_cannot_compute_its_own_loss_is_trained(rng, tmp_path):
    """As classes of one's own that transformers has no loss for, since it goes by their name; evaluation needs it."""
    assert trained(Failing(bert()), rows_of(rng, one), tmp_path).status == "ok"


def test_comparing_the_loss_changes_nothing(rng, tmp_path):
    """Neither weights, nor the random state, nor the model's config."""
    rows, ends = rows_of(rng, one), []
    for checked in (True, False):
        torch.manual_seed(5)
        model = hf.BertForSequenceClassification(bert().__class__(**{**BERT, "hidden_dropout_prob": 0.3}))
        trainer = get_method("finetune")
        args = trainer.config_class(
            str(tmp_path), max_steps=2, use_cpu=True, cpu_threads=1, disable_tqdm=True, save_strategy="no",
            logging_strategy="no", report_to="none",
        )  # fmt: skip
        made = trainer(model, args, forget_dataset=rows[:3], retain_dataset=rows[3:])
        made._loss_is_checked = not checked
        made.train()
        assert made._loss_is_checked and model.config.problem_type is None
        ends.append(model.state_dict())
    assert all(weight.equal(ends[1][name]) for name, weight in ends[0].items())


LABELS = {
    "none a class": (-100, "has label -100 \\(row 0, 3 such rows\\)"),
    "too large": (2, "has label 2 \\(row 0"),
    "true or false": (True, "true or false"),
    "a whole fraction": (1.0, "one number from 0.0 to 1.0 for each label"),
    "a text": ("cat", "has labels that are texts"),
    "several": ([0, 1], "has 6 labels in 3 rows"),
}


@pytest.mark.parametrize(("label", "why"), LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("name", ["labels", "label"])
def test_labels_that_are_no_classes_are_refused_at_once(label, why, name, rng, tmp_path):
    rows = [{"input_ids": row["input_ids"], name: label} for row in rows_of(rng, one)]
    with pytest.raises(BadInput, match=f"^forget_dataset {why}|{why}"):
        trained(Net(bert()), rows, tmp_path)


@pytest.mark.parametrize("wrong", [4, -1])
def test_a_token_label_out_of_range_is_refused_at_once(wrong, rng, tmp_path):
    rows = rows_of(rng, lambda rng: [-100, *rng.integers(0, 4, 4).tolist(), -100])
    rows[4]["labels"][2] = wrong
    with pytest.raises(BadInput, match=rf"^retain_dataset has label {wrong} \(row 1, 1 such rows\), .* and -100 where"):
        trained(hf.BertForTokenClassification(bert(num_labels=4)), rows, tmp_path)


class Plain(nn.Module):
    """A module without transformers."""

    def __init__(self):
        super().__init__()
        self.config, self.out = SimpleNamespace(num_labels=2), nn.Linear(6, 2)

    def forward(self, input_ids):
        return {"logits": self.out(input_ids.float() / 20)}


@pytest.mark.parametrize("method", methods_for("classification"))
def test_a_plain_module_that_returns_logits_is_a_classifier(method, rng, tmp_path):
    try:
        assert trained(Plain(), rows_of(rng, one), tmp_path, method).status == "ok"
    except BadInput as error:
        assert "how to make one with fresh weights cannot be told" in str(error)
        assert method in ("retrain", "bad_teaching")
