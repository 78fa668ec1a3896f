"""The byte-level tokenizer made from a task's texts."""

import hashlib
import json
import subprocess
import sys

import pytest

from mubench_hf.models import get_model
from mubench_hf.models.architectures._bpe import EOS_ID, PAD_ID, bpe_tokenizer
from mubench_hf.models.loading import load_processor, random_model, saved_processor

TEXTS = [f"{name} baked {count} cakes in {town}.\r\nWhy? Nobody knows!" for name in ("Ann", "Björn", "Chu")
         for count in range(40) for town in ("Oslo", "Lima", "Ulm", "Pécs")]  # fmt: skip
TINY = ["t5-v1.1-tiny", "llama-2-tiny", "phi-tiny", "zephyr-tiny"]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe_tokenizer(TEXTS)


def strange(rng):
    """A text of any characters, most of which the tokenizer never saw; halves of surrogate pairs are no text."""
    points = rng.integers(1, 0x110000, size=60)
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


@pytest.mark.parametrize("append_eos", [False, True])
def test_any_text_comes_back(rng, append_eos):
    tokenizer = bpe_tokenizer(TEXTS, append_eos=append_eos)
    for text in (TEXTS[7], strange(rng), "  two  spaces , then a tab\t. ", "不 is 5 bytes ?", ""):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert ids[-1:] == [EOS_ID] if append_eos else EOS_ID not in ids
        assert PAD_ID not in ids


def test_words_of_the_texts_are_few_tokens(tokenizer):
    assert len(tokenizer(" cakes")["input_ids"]) == 1
    assert len(tokenizer("xylophone")["input_ids"]) > 5


def test_size_and_special_tokens(tokenizer):
    assert 258 < len(tokenizer) <= 600
    assert tokenizer.pad_token_id == PAD_ID == 0 and tokenizer.eos_token_id == EOS_ID == 1
    assert len(bpe_tokenizer(TEXTS, size=300)) == 300
    assert len(bpe_tokenizer([])) == 258, "all bytes and two special tokens"


def test_pads_on_the_right_with_a_mask(tokenizer):
    batch = tokenizer(["Ann baked", "Ann"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}
    assert batch["input_ids"][1][-1] == PAD_ID and batch["attention_mask"][1][-1] == 0


def fingerprint(texts):
    return hashlib.sha256(bpe_tokenizer(texts).backend_tokenizer.to_str().encode()).hexdigest()


def test_same_texts_same_vocabulary(offline_env):
    """In another process too, with other hashes and more threads."""
    code = (
        "import sys, json, hashlib\n"
        "from mubench_hf.models.architectures._bpe import bpe_tokenizer\n"
        "made = bpe_tokenizer(json.load(sys.stdin)).backend_tokenizer.to_str()\n"
        "print(hashlib.sha256(made.encode()).hexdigest())"
    )
    env = {**offline_env, "PYTHONHASHSEED": "7", "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS), env=env, capture_output=True, text=True
    )
    assert done.stdout.strip() == fingerprint(TEXTS), done.stderr
    assert fingerprint(TEXTS[:100]) != fingerprint(TEXTS)


@pytest.mark.parametrize("name", TINY)
def test_it_comes_back_from_a_checkpoint(name, tmp_path):
    spec = get_model(name)
    tokenizer = load_processor(spec, TEXTS)
    random_model(spec).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = saved_processor(tmp_path)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    text = " It's  'Ulm' , isn't it ?\n"
    ids = tokenizer(text)["input_ids"]
    assert again(text)["input_ids"] == ids and again.decode(ids, skip_special_tokens=True) == text
    assert (ids[-1] == EOS_ID) == (spec.architecture.kind == "seq2seq")
    assert (again.pad_token_id, again.eos_token_id) == (PAD_ID, EOS_ID)
    again.save_pretrained(tmp_path / "again")
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), "saved again, it makes the same files"
