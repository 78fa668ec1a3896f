"""How a model that continues texts is asked: by its chat template where it has one, else as it always was."""

from dataclasses import replace

import numpy as np
import pytest
from upstream import TEXTS, imitation, write

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import load_processor, saved_processor
from mubench_hf.runs.from_data import task_from_dataset
from mubench_hf.tasks import described_task, get_task
from mubench_hf.tasks._prompts import instructed

ASKED = {
    "llama-2-7b-chat": "<s>[INST] {} [/INST] ",
    "phi-1.5": "Question: {}\nAnswer: ",
    "zephyr-7b-beta": "<|user|>\n{}</s>\n<|assistant|>\n",
}
LENGTHS = {"prompt_tokens": 256, "answer_tokens": 192}
TASK = get_task("celeb_profile")


@pytest.fixture
def texts():
    rng = np.random.default_rng()
    question, answer = rng.choice(TEXTS, size=2)
    return str(question), str(answer)


@pytest.fixture(params=ASKED)
def chat(request, tmp_path):
    """The tokenizer of each chat model, as it is used for a run, and how it asks."""
    spec = get_model(request.param)
    folder = write(imitation(spec, 1)[0], tmp_path / "upstream")
    spec = replace(spec, published=replace(spec.published, hub_id=str(folder), revision=None))
    return load_processor(spec), ASKED[request.param]


def parts(tokenizer, row):
    given = row["labels"].count(-100)
    assert row["labels"] == [-100] * given + row["input_ids"][given:] and row["attention_mask"] == [1] * len(
        row["labels"]
    )
    return tokenizer.decode(row["input_ids"]), tokenizer.decode(row["input_ids"][given:])


def test_the_reference_s_prompts(chat, texts):
    tokenizer, asked = chat
    question, answer = texts
    whole, written = parts(tokenizer, TASK.prepare({"instruction": question, "biography": answer}, tokenizer))
    assert whole == f"{asked.format(question)}{answer}{tokenizer.eos_token}"
    assert written.strip() == f"{answer}{tokenizer.eos_token}", "the answer and its end alone are scored"


def test_a_checkpoint_keeps_them(chat, texts, tmp_path):
    tokenizer, _ = chat
    tokenizer.save_pretrained(tmp_path / "saved")
    row = dict(zip(("instruction", "biography"), texts, strict=True))
    assert TASK.prepare(row, saved_processor(tmp_path / "saved")) == TASK.prepare(row, tokenizer)


def test_long_texts_lose_their_own_words_only(chat):
    tokenizer, asked = chat
    row = instructed(tokenizer, "who " * 900, "likes " * 900, **LENGTHS)
    whole, written = parts(tokenizer, row)
    before, after = asked.format("\0").split("\0")
    assert whole.startswith(f"{before}who who") and f"{after.rstrip(' ')}" in whole
    given = row["labels"].count(-100)
    assert given <= 256 and len(row["labels"]) - given == 192 and written.endswith(tokenizer.eos_token)
    with pytest.raises(BadInput, match="template alone takes more than the 3 tokens"):
        instructed(tokenizer, "who", "me", prompt_tokens=3, answer_tokens=9)


def test_without_a_template_nothing_is_added(texts):
    """As earlier versions did it: instruction, line break, answer, end."""
    question, answer = texts
    tokenizer = load_processor(get_model("llama-2-tiny"), TEXTS)
    for most in (LENGTHS, {"prompt_tokens": 7, "answer_tokens": 5}):
        row = instructed(tokenizer, question, answer, **most)
        prompt = tokenizer(question + "\n")["input_ids"][: most["prompt_tokens"]]
        target = tokenizer(answer, add_special_tokens=False)["input_ids"][: most["answer_tokens"] - 1]
        assert row["input_ids"] == [*prompt, *target, tokenizer.eos_token_id]
        assert row["labels"] == [-100] * len(prompt) + [*target, tokenizer.eos_token_id]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no such role') }}", "chat template cannot be applied: no such role"),
        ("{% for message in messages", "chat template cannot be applied"),
        ("{{ messages | length }}{{ messages[-1]['content'] }}", "begins a chat otherwise once it has an answer"),
    ],
)
def test_templates_that_cannot_be_used(template, message, texts):
    tokenizer = load_processor(get_model("llama-2-tiny"), TEXTS)
    tokenizer.chat_template = template
    with pytest.raises(BadInput, match=message):
        instructed(tokenizer, *texts, **LENGTHS)
    tokenizer.chat_template, tokenizer.eos_token = None, None
    with pytest.raises(BadInput, match="no end-of-sequence token"):
        instructed(tokenizer, *texts, **LENGTHS)


def test_described_tasks_ask_alike(chat, texts, tmp_path):
    """Those that an earlier version described go on as they were."""
    tokenizer, asked = chat
    lines = "".join(f'{{"question": "{number}?", "answer": "It is {number}."}}\n' for number in range(120))
    (tmp_path / "rows.jsonl").write_text(lines)
    task = task_from_dataset(str(tmp_path / "rows.jsonl"), label="answer", kind="causal_lm", hold_out="10%")
    question, answer = texts
    row = {"question": question, "answer": answer}
    assert parts(tokenizer, task.prepare(row, tokenizer))[0] == f"{asked.format(question)}{answer}{tokenizer.eos_token}"
    before = described_task({name: value for name, value in task.description.items() if name != "chat"})
    plain = parts(tokenizer, before.prepare(row, tokenizer))[0]
    assert asked.format("").strip() not in plain and question in plain and answer in plain
    classified = tmp_path / "classes.jsonl"
    classified.write_text("".join(f'{{"text": "row {n}", "label": "{"ab"[n % 2]}"}}\n' for n in range(300)))
    assert "chat" not in task_from_dataset(str(classified), label="label", hold_out="10%").description
