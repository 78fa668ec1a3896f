"""Rows of tokens and models that write them, so small that a whole run takes a fraction of a second.

Inputs differ in every run: the seed is printed with a failure, `MUBENCH_TEST_SEED=<seed>` repeats it.
"""

import gc
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import Dataset
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from mubench_hf.data.prepare import TaskData
from mubench_hf.kinds import get_kind
from mubench_hf.trainers import get_method

TOKENS, PAD, EOS = 14, 0, 1
ROWS, FORGET_ROWS = 24, 7
LIMIT = 7
SPECIAL = {"pad_token_id": PAD, "eos_token_id": EOS}


def t5():
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=TOKENS,
            d_model=16,
            d_kv=8,
            d_ff=24,
            num_layers=1,
            num_heads=2,
            dropout_rate=0.0,
            # Wide enough that rows get logits of their own.
            initializer_factor=2.0,
            decoder_start_token_id=PAD,
            **SPECIAL,
        )
    )


def bart():
    """An encoder-decoder with positions of its own, unlike T5."""
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=TOKENS,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            max_position_embeddings=64,
            init_std=0.5,
            dropout=0.0,
            bos_token_id=2,
            decoder_start_token_id=EOS,
            forced_eos_token_id=None,
            **SPECIAL,
        )
    )


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=TOKENS,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=64,
            initializer_range=0.4,
            bos_token_id=EOS,
            **SPECIAL,
        )
    )


KINDS = {"seq2seq": t5, "causal_lm": llama}


@pytest.fixture(scope="module", autouse=True)
def quick_collection():
    """`Trainer` collects garbage before it trains; what is imported by now need not be searched each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


class Rows(Dataset):
    """Prepared rows, as a task makes them of prompts and targets."""

    def __init__(self, kind, pairs, index):
        self.kind, self.pairs, self.index = kind, pairs, np.asarray(index)
        self.labels = np.asarray([words(target) for _, target in pairs])

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, position):
        prompt, target = self.pairs[position]
        if self.kind == "seq2seq":
            return {"input_ids": prompt, "attention_mask": [1] * len(prompt), "labels": target}
        ids = [*prompt, *target]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * len(prompt) + target}


def collate(rows, extra=0):
    """Fill rows up at their ends, `extra` places more than the longest needs."""
    batch = {}
    for name, filler in (("input_ids", PAD), ("attention_mask", 0), ("labels", -100)):
        length = max(len(row[name]) for row in rows) + extra
        batch[name] = torch.tensor([[*row[name], *[filler] * (length - len(row[name]))] for row in rows])
    return batch


@pytest.fixture(name="collate")
def collate_fixture():
    return collate


def words(tokens):
    return " ".join(f"w{token}" for token in tokens if token not in (PAD, EOS))


def tokenizer(pad="<pad>"):
    """One word a token, `w5`."""
    vocabulary = {"<pad>": PAD, "</s>": EOS} | {f"w{token}": token for token in range(2, TOKENS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="w2"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, eos_token="</s>")


@pytest.fixture(name="words")
def words_fixture():
    return words


@pytest.fixture(name="tokenizer")
def tokenizer_fixture():
    return tokenizer


@torch.no_grad()
def token_logits(model, prompt, target):
    """Return what a model says of each token of one target, `[len(target), TOKENS]`, with no batch and no padding."""
    if model.config.is_encoder_decoder:
        shifted = [model.config.decoder_start_token_id, *target[:-1]]
        logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([shifted])).logits[0]
    else:
        logits = model(input_ids=torch.tensor([[*prompt, *target[:-1]]])).logits[0, len(prompt) - 1 :]
    return logits.double().numpy()


@pytest.fixture(name="token_logits")
def token_logits_fixture():
    return token_logits


def draw_world(kind, rng, maker=None):
    """Draw rows of a kind, how they are split, and a maker of the original."""

    def text(low, high):
        return [*rng.integers(2, TOKENS, size=rng.integers(low, high)).tolist(), EOS]

    def pair():
        # A decoder's prompt has no end.
        return (text(1, 7) if kind == "seq2seq" else text(2, 8)[:-1]), text(1, 6)

    pairs, test = [pair() for _ in range(ROWS)], [pair() for _ in range(5)]
    is_forget = np.zeros(ROWS, bool)
    is_forget[rng.choice(ROWS, FORGET_ROWS, replace=False)] = True
    parts = {
        name: Rows(kind, [pairs[row] for row in np.flatnonzero(flags)], np.flatnonzero(flags))
        for name, flags in (("forget", is_forget), ("retain", ~is_forget))
    }
    parts["test"] = Rows(kind, test, range(len(test)))
    seed = int(rng.integers(2**31))

    def original():
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return (maker or KINDS[kind])().eval()

    def data(processor=None):
        task = SimpleNamespace(max_target_tokens=LIMIT, answers=None)
        return TaskData(task, True, 5, parts, {}, (), processor or tokenizer(), collate, Path("unused"))

    return SimpleNamespace(
        kind=get_kind(kind), pairs=pairs, is_forget=is_forget, original=original, data=data, limit=LIMIT, **parts
    )


@pytest.fixture(params=KINDS)
def world(request, rng):
    return draw_world(request.param, rng)


@pytest.fixture
def seq2seq_world(rng):
    return draw_world("seq2seq", rng)


@pytest.fixture
def bart_world(rng):
    return draw_world("seq2seq", rng, bart)


@pytest.fixture
def causal_world(rng):
    return draw_world("causal_lm", rng)


@pytest.fixture(params=KINDS)
def fixed_world(request):
    """A world that is the same in every run, for numbers that a rare draw could spoil."""
    return draw_world(request.param, np.random.default_rng(0))


@pytest.fixture
def make(tmp_path):
    """Make a trainer: `make("scrub", world, msteps=1)`; settings are the config's."""

    def make(method, world, **settings):
        trainer = get_method(method)
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "cpu_threads": 1,
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_strategy": "no",
            "per_device_train_batch_size": 8,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "seed": 11,
        }
        args = trainer.config_class(**{**defaults, **settings})
        return trainer(world.original(), args, world.forget, world.retain, data_collator=collate)

    return make
