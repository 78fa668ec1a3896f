"""Tiny tokenizers: a vocabulary that follows from the texts alone, and files that load as they were saved."""

import json
import random
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from mubench_hf.models import get_model, list_models
from mubench_hf.models.architectures.text import SPECIAL, VOCABULARY, tiny_tokenizer, vocabulary
from mubench_hf.models.loading import fresh_model, load_processor, saved_processor

TEXTS = ["The cat saw the dog.", "The dog saw a bird, twice!", "Müller’s café: ein Hund"]
TINY = [
    name
    for name in list_models()
    if (get_model(name).hub_id, get_model(name).architecture.modality, get_model(name).architecture.kind)
    == (None, "text", "classification")
]


def test_vocabulary_by_hand():
    found = vocabulary({"ab": 2, "b": 7, "ba": 2, "bab": 3}, 100)
    assert list(found) == [*SPECIAL.values(), "a", "b", "##a", "##b", "bab", "ab", "ba"]
    assert list(found.values()) == list(range(len(found)))


def test_vocabulary_is_cut_to_its_size():
    words = {f"{chr(97 + number % 26)}{number}": number for number in range(1, 400)}
    for size in (20, 100, 101):
        found = list(vocabulary(words, size))
        assert len(found) == size
        single = [token for token in found if len(token) == 1]
        assert len(single) <= (size // 2 - 5) // 2 and {f"##{token}" for token in single} <= set(found)
        whole = [token for token in found if token in words]
        assert [words[token] for token in whole] == sorted((words[token] for token in whole), reverse=True)
        assert min(words[token] for token in whole) >= 400 - len(whole), "the most frequent ones"


def test_order_of_the_texts_does_not_count():
    texts = [f"{random.choice('abc')}{random.choice('xyz')} {random.random()}" for _ in range(200)]
    first = tiny_tokenizer(texts)
    assert tiny_tokenizer(random.sample(texts, len(texts))).get_vocab() == first.get_vocab()
    assert len(first) <= VOCABULARY


def test_words_and_unknown_words():
    tokenizer = tiny_tokenizer(TEXTS)
    assert tokenizer.tokenize("THE cat saw Muller's") == ["the", "cat", "saw", "muller", "[UNK]", "s"]
    # A word that is not there: the longest word or character that it begins with, then its other characters.
    assert tokenizer.tokenize("cats") == ["cat", "##s"]
    assert tokenizer.tokenize("bcat") == ["b", "##c", "##a", "##t"]
    assert (
        tokenizer.decode(tokenizer("the dog saw a bird!")["input_ids"], skip_special_tokens=True)
        == "the dog saw a bird!"
    )
    pair = tokenizer("the cat", "a dog")
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]) == [
        "[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]"
    ]  # fmt: skip
    assert set(pair) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("name", TINY)
def test_it_comes_back_from_a_checkpoint(name, tmp_path):
    spec = get_model(name)
    tokenizer, model = load_processor(spec, TEXTS), fresh_model(spec, ["a", "b"], 0)
    assert len(tokenizer) <= model.config.vocab_size and tokenizer.pad_token_id == model.config.pad_token_id == 0
    tokenizer.save_pretrained(tmp_path / "first")
    model.save_pretrained(tmp_path / "first")
    again = saved_processor(tmp_path / "first")
    again.save_pretrained(tmp_path / "second")
    for file in (tmp_path / "second").iterdir():
        assert json.loads(file.read_text()) == json.loads(Path(tmp_path, "first", file.name).read_text()), file.name
    sentence = "The catalogue, twice: Müller’s dog!"
    for other in (again, AutoTokenizer.from_pretrained(tmp_path / "first")):
        assert other(sentence, truncation=True, max_length=9) == tokenizer(sentence, truncation=True, max_length=9)
        assert type(other) is type(tokenizer) and other.model_max_length == 128
        padded = other.pad([other("cat"), other("the dog saw")], return_tensors="pt")
        assert padded["input_ids"].shape == (2, 5) and padded["attention_mask"].sum(1).tolist() == [3, 5]
