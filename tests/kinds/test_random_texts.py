"""Random targets of texts to continue: each answer is another row's; prompts, padding and turns keep their places."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from methods import methods_for
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DataCollatorForLanguageModeling, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mubench_hf.data.joined import JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.trainers import get_method

TOKENS, PAD, WHOLE = 60, 0, 24
KIND = get_kind("causal_lm")


def draw_text(rng, low, high):
    return rng.integers(5, TOKENS, rng.integers(low, high)).tolist()


def draw_turns(rng, turns, tail):
    """Return a text as (tokens, whether they are an answer), turn by turn."""
    made = []
    for _ in range(turns):
        made += [(draw_text(rng, 1, 4), False), (draw_text(rng, 1, 4), True)]
    return [*made, *([(draw_text(rng, 1, 3), False)] if tail else [])]


def as_row(turns, side=None, style="lists", **more):
    ids = [token for tokens, _ in turns for token in tokens]
    labels = [token if answer else -100 for tokens, answer in turns for token in tokens]
    row = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}
    row["token_type_ids"] = [int(label != -100) for label in labels]
    row["position_ids"] = list(range(len(ids)))
    if side:
        filling = {"input_ids": PAD, "attention_mask": 0, "labels": -100, "token_type_ids": 0, "position_ids": 0}
        for name, values in row.items():
            fill = [filling[name]] * (WHOLE - len(ids))
            row[name] = fill + values if side == "left" else values + fill
    convert = {"lists": list, "arrays": np.asarray, "tensors": torch.tensor}[style]
    return {**{name: convert(values) for name, values in row.items()}, **more}


def said(text):
    """Return the answers of a drawn text."""
    return [tokens for tokens, answer in text if answer]


@pytest.mark.parametrize("style", ["lists", "arrays", "tensors"])
@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("tail", [False, True])
def test_answers_change_and_all_else_stays(style, side, turns, tail, rng):
    own, texts = draw_turns(rng, turns, tail), []
    while len(texts) < 6:
        text = draw_turns(rng, int(rng.integers(1, 3)), False)
        if said(text) != said(own):  # Such a donor would be passed over, see below.
            texts.append(text)
    texts = [own, *texts]
    rows = [as_row(text, side, style, note="kept") for text in texts]
    joined, drawn = JoinedRows(rows[:1], rows[1:]), int(rng.integers(1, 7))
    made = KIND.retarget(joined[0], drawn, joined, None)
    taken = iter(said(texts[drawn]) * 3)
    expected = as_row([(next(taken), True) if answer else (tokens, False) for tokens, answer in texts[0]], side, style)
    assert made["note"] == "kept" and made["row"] == 0 and made["is_forget"]
    for name, values in expected.items():
        assert type(made[name]) is type(rows[0][name])
        assert getattr(made[name], "dtype", None) == getattr(rows[0][name], "dtype", None)
        at = np.asarray(expected["attention_mask"], dtype=bool)
        assert len(made[name]) == len(values) and (len(values) == WHOLE or not side)
        assert np.array_equal(np.asarray(made[name])[at], np.asarray(values)[at]), name
    assert np.array_equal(made["labels"], expected["labels"]) and np.array_equal(
        made["attention_mask"], expected["attention_mask"]
    )


def test_a_padded_row_is_cut_where_it_has_no_room():
    row = as_row([([5, 6, 7], False), ([8], True)])
    row = {name: row[name] + [fill] for name, fill in (("input_ids", PAD), ("attention_mask", 0), ("labels", -100))}
    donor = as_row([([9], False), ([10, 11, 12, 13], True)])
    made = KIND.retarget({**row, "is_forget": True}, 1, JoinedRows([row], [donor]), None)
    assert made["input_ids"] == [5, 6, 7, 10, 11] and made["labels"] == [-100, -100, -100, 10, 11]
    full = {
        name: row[name][:3] + [fill] for name, fill in (("input_ids", PAD), ("attention_mask", 0), ("labels", -100))
    }
    full["labels"] = [-100, -100, 7, -100]
    wide = {"input_ids": [PAD, 5, 6, 7, 8, 9], "attention_mask": [0, 1, 1, 1, 1, 1], "labels": [-100] * 3 + [7, 8, 9]}
    made = KIND.retarget(full, 1, JoinedRows([full], [wide]), None)
    assert made["input_ids"] == [5, 6, 7, 8] and made["labels"] == [-100, -100, 7, 8]


def test_a_text_that_is_scored_as_a_whole_keeps_its_first_token():
    """Nothing predicts it, so what follows it is the answer."""
    rows = [{"input_ids": ids, "labels": ids} for ids in ([5, 6, 7], [8, 9, 10, 11])]
    made = KIND.retarget(rows[0], 1, JoinedRows(rows[:1], rows[1:]), None)
    assert made["input_ids"] == made["labels"] == [5, 9, 10, 11]


def test_a_donor_with_the_same_answer_is_passed_over():
    rows = [as_row([([at], False), (answer, True)]) for at, answer in ((5, [9]), (6, [9]), (7, [9]), (8, [10, 11]))]
    joined = JoinedRows(rows[:1], rows[1:])
    assert KIND.retarget(joined[0], 1, joined, None)["input_ids"] == [5, 10, 11]
    with pytest.raises(BadInput, match="have the same one"):
        KIND.retarget(joined[0], 1, JoinedRows(rows[:1], rows[1:3]), None)


BAD = {
    "no labels": ({"labels": None}, "no labels, so it does not tell a prompt from its answer"),
    "nothing scored": ({"labels": [-100] * 4}, "no label but -100"),
    "padding inside": ({"attention_mask": [1, 0, 1, 1]}, "not one run of ones"),
    "several texts": ({"attention_mask": [1, 1, 2, 2]}, "not one run of ones"),
    "padding scored": ({"attention_mask": [1, 1, 1, 0]}, "labels where its attention_mask is 0"),
    "packed positions": ({"position_ids": [0, 1, 0, 1]}, "position_ids do not count"),
    "a column that donors lack": ({"special_tokens_mask": [1, 0, 0, 1]}, "special_tokens_mask for each token"),
    "labels of another length": ({"labels": [-100, 6]}, "one label per token"),
    "everything masked": ({"attention_mask": [0] * 4}, "not one run of ones"),
}


@pytest.mark.parametrize(("changed", "why"), BAD.values(), ids=BAD)
def test_a_row_that_cannot_be_read_is_refused(changed, why):
    row = {"input_ids": [5, 6, 7, 8], "attention_mask": [1] * 4, "labels": [-100, -100, 7, 8]}
    if "position_ids" in changed:
        row["position_ids"] = [0, 1, 2, 3]
    donor = {**row, "input_ids": [5, 6, 9, 10], "labels": [-100, -100, 9, 10]}
    row = {name: value for name, value in {**row, **changed}.items() if value is not None}
    with pytest.raises(BadInput, match=why):
        KIND.retarget(row, 1, JoinedRows([row], [donor]), None)


# Rows of texts, as for trl -------------------------------------------------------------------------------------------

WORDS = ["<pad>", "</s>", "<user>", "<bot>", "<end>", *(f"w{at}" for at in range(5, TOKENS))]
TEMPLATE = (
    "{% for m in messages %}{{ '<user> ' if m['role'] == 'user' else '<bot> ' }}{{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<bot> {% endif %}"
)
LAST_ONLY = "{{ messages[-1]['content'] }} <end>"


def tokenizer(template=TEMPLATE):
    backend = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="w5"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")
    made.chat_template = template
    return made


def words(tokens):
    return " ".join(f"w{token}" for token in tokens)


def chat(turns):
    roles = {False: "user", True: "assistant"}
    return [{"role": roles[answer], "content": words(tokens)} for tokens, answer in turns]


def tokens_of(turns):
    """Return what the template makes of a chat, and its labels."""
    ids, labels = [], []
    for tokens, answer in turns:
        ids += [3 if answer else 2, *tokens, 4]
        labels += [-100, *(tokens if answer else [-100] * len(tokens)), 4 if answer else -100]
    return ids, labels


def make_trainer(method, forget, retain, folder, processing_class=None, **kwargs):
    trainer = get_method(method)
    config = LlamaConfig(
        vocab_size=TOKENS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=16, pad_token_id=PAD, eos_token_id=1,
    )  # fmt: skip
    args = trainer.config_class(
        str(folder), max_steps=2, use_cpu=True, cpu_threads=1, disable_tqdm=True, save_strategy="no", report_to="none",
        logging_strategy="no",
    )  # fmt: skip
    rows = {"forget_dataset": forget, "retain_dataset": retain, "eval_dataset": {"kept": retain}}
    return trainer(LlamaForCausalLM(config), args, **rows, processing_class=processing_class, **kwargs)


@pytest.mark.parametrize("form", ["messages", "chat completion", "texts", "table of messages"])
def test_rows_for_trl_become_tokens(form, rng, tmp_path):
    many = [draw_turns(rng, 1 + at % 2 if "messages" in form else 1, False) for at in range(9)]
    if "messages" in form:
        rows, expected = [{"messages": chat(turns)} for turns in many], [tokens_of(turns) for turns in many]
        rows = Dataset.from_list(rows) if "table" in form else rows
    elif form == "texts":
        rows = [{"prompt": words(ask) + " ", "completion": words(answer)} for (ask, _), (answer, _) in many]
        expected = [
            ([*ask, *answer, 1], [-100] * len(ask) + [*answer, 1]) for (ask, _), (answer, _) in many
        ]  # a completion has an end
    else:
        rows = [{"prompt": chat(turns[:1]), "completion": chat(turns[1:])} for turns in many]
        expected = [tokens_of(turns) for turns in many]
    parts = (rows.select(range(3)), rows.select(range(3, 9))) if "table" in form else (rows[:3], rows[3:])
    trainer = make_trainer("rand_label", *parts, tmp_path, tokenizer())
    for at, (ids, labels) in enumerate(expected):
        row = trainer.rows[at]
        assert (row["input_ids"], row["labels"], row["attention_mask"]) == (ids, labels, [1] * len(ids))
    made = trainer.training_rows()[0]
    assert made["input_ids"] != expected[0][0]
    trainer.train()
    assert trainer.status == "ok" and np.isfinite(trainer.evaluate()["eval_kept_loss"])
    assert len(trainer.predict(parts[0]).label_ids) == 3


@pytest.mark.parametrize("method", methods_for("causal_lm"))
def test_every_method_takes_chats(method, rng, tmp_path):
    rows = [{"messages": chat(draw_turns(rng, 2, False))} for _ in range(9)]
    trainer = make_trainer(method, rows[:3], rows[3:], tmp_path, tokenizer())
    assert np.isfinite(trainer.train().training_loss) and trainer.status == "ok"


def test_a_tokenizer_without_padding_is_not_changed(rng, tmp_path):
    plain = tokenizer()
    plain.pad_token = None
    rows = [{"messages": chat(draw_turns(rng, 2, False))} for _ in range(9)]
    trainer = make_trainer("finetune", rows[:3], rows[3:], tmp_path, plain)
    short, long = sorted((trainer.rows[at] for at in range(9)), key=lambda row: len(row["input_ids"]))[::8]
    batch, size = trainer.collator([short, long]), len(short["input_ids"])
    assert batch["attention_mask"].sum(1).tolist() == [size, len(long["input_ids"])]
    assert (batch["labels"][0, size:] == -100).all() and plain.pad_token is None
    assert trainer.train().global_step == 2


def test_prompts_and_completions_for_an_encoder_and_a_decoder(rng):
    kind, pairs = get_kind("seq2seq"), [(draw_text(rng, 2, 5), draw_text(rng, 2, 5)) for _ in range(4)]
    rows = kind.readable([{"prompt": words(one), "completion": words(other)} for one, other in pairs], tokenizer())
    assert [(row["input_ids"], row["labels"]) for row in (rows[at] for at in range(4))] == pairs
    with pytest.raises(BadInput, match="takes rows with the texts prompt and completion"):
        kind.readable([{"messages": []}], tokenizer())[0]
    with pytest.raises(BadInput, match="Row 0: A model that sees images takes rows that its processor prepared"):
        get_kind("image_text_to_text").readable([{"messages": []}], tokenizer())[0]


@pytest.mark.parametrize("wrong", [TOKENS, -1])
def test_a_label_that_is_no_token_is_refused(wrong, rng, tmp_path):
    rows = [{"input_ids": draw_text(rng, 4, 5), "labels": [-100, 7, 8, 9]} for _ in range(9)]
    rows[4]["labels"] = [-100, 7, wrong, 9]
    with pytest.raises(BadInput, match=f"has label {wrong}, but the model has {TOKENS} classes"):
        make_trainer("finetune", rows[:3], rows[3:], tmp_path).train()


CHATS = {
    "no tokenizer": (None, "Give the model's tokenizer as processing_class"),
    "no template": (lambda: tokenizer(None), "chat template cannot be applied"),
    "a template that forgets": (lambda: tokenizer(LAST_ONLY), "changes earlier messages"),
}


@pytest.mark.parametrize(("make", "why"), CHATS.values(), ids=CHATS)
def test_chats_that_cannot_be_read_are_refused(make, why, rng, tmp_path):
    rows = [{"messages": chat(draw_turns(rng, 2, False))} for _ in range(9)]
    with pytest.raises(BadInput, match=why):
        make_trainer("finetune", rows[:3], rows[3:], tmp_path, make and make()).train()


def test_a_chat_without_an_answer_is_refused(rng, tmp_path):
    rows = [{"messages": chat(draw_turns(rng, 1, False)[:1])} for _ in range(9)]
    with pytest.raises(BadInput, match="none is an answer"):
        make_trainer("finetune", rows[:3], rows[3:], tmp_path, tokenizer()).train()


def test_labels_that_the_collator_makes_are_no_answers(rng, tmp_path):
    rows = [{"input_ids": draw_text(rng, 4, 5), "attention_mask": [1] * 4} for _ in range(9)]
    collator = DataCollatorForLanguageModeling(tokenizer(), mlm=False)
    assert make_trainer("finetune", rows[:3], rows[3:], tmp_path, data_collator=collator).train().global_step == 2
    with pytest.raises(BadInput, match="does not tell a prompt from its answer"):
        make_trainer("rand_label", rows[:3], rows[3:], tmp_path, data_collator=collator).train()


def test_a_collator_that_writes_over_labels_is_refused(rng, tmp_path):
    """It would score the prompt, too."""
    rows = [as_row([(draw_text(rng, 3, 4), False), (draw_text(rng, 2, 3), True)]) for _ in range(9)]
    collator = DataCollatorForLanguageModeling(tokenizer(), mlm=False)
    with pytest.raises(BadInput, match="makes labels of its own"):
        make_trainer("rand_label", rows[:3], rows[3:], tmp_path, data_collator=collator).train()


def test_rows_of_unequal_length_need_a_collator_that_pads(rng, tmp_path):
    rows = [{"input_ids": [5] * (at + 2), "labels": [-100] + [6 + at] * (at + 1)} for at in range(9)]
    with pytest.raises(BadInput, match="of different shapes .* Give one that pads"):
        make_trainer("rand_label", rows[:3], rows[3:], tmp_path).train()
    assert make_trainer("rand_label", rows[:3], rows[3:], tmp_path, tokenizer()).train().global_step == 2
