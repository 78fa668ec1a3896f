"""Nothing is sent that is not what its name says, holds a secret, or may be any file of this machine."""

import json
import os
import pickle
import random
import string

import numpy as np
import pytest
from made_up import checkpoint, weights
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from mubench_hf.errors import BadInput
from mubench_hf.hub import model_bundle
from mubench_hf.hub.contents import SECRETS


@pytest.fixture
def folder(tmp_path):
    return checkpoint(tmp_path)[0]


def letters(count, alphabet=string.ascii_letters + string.digits):
    return "".join(random.choices(alphabet, k=count))


def pieces():
    """Return a vocabulary of SentencePiece."""
    found = ModelProto()
    for _ in range(20):
        piece = found.pieces.add()
        piece.piece, piece.score = letters(5), random.random()
    return found.SerializeToString()


EXAMPLES = {
    "a token of the Hub": lambda: f"hf_{letters(34)}",
    "a key of OpenAI or Anthropic": lambda: f"sk-ant-{letters(40)}",
    "a token of GitHub": lambda: f"ghp_{letters(36)}",
    "a token of GitLab": lambda: f"glpat-{letters(20)}",
    "a key of AWS": lambda: f"AKIA{letters(16, string.ascii_uppercase + string.digits)}",
    "a key of Google": lambda: f"AIza{letters(35)}",
    "a token of Slack": lambda: f"xoxb-{letters(30)}",
    "a private key": lambda: "-----BEGIN OPENSSH PRIVATE KEY-----",
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_in_any_text_is_found(folder, what):
    secret = EXAMPLES[what]()
    with_secret = {
        "tokenizer_config.json": json.dumps({"token": secret}),
        "vocab.txt": f"a\n{secret}\nb",
        "chat_template.jinja": f"{{# {secret} #}}",
        "merges.txt": f"{secret} x",
        "generation_config.json": json.dumps([{"deep": {"er": secret}}]),
    }
    name, text = random.choice(sorted(with_secret.items()))
    (folder / name).write_text(text)
    with pytest.raises(BadInput, match=f"{name} of mubench/.* holds what looks like {what}. Nothing was sent"):
        model_bundle(folder)


def test_a_secret_in_the_header_of_weights_or_in_a_vocabulary(folder):
    from safetensors.numpy import save

    plain = (folder / "model.safetensors").read_bytes()
    secret = EXAMPLES["a token of the Hub"]()
    (folder / "model.safetensors").write_bytes(save({"a": np.zeros(2)}, metadata={"note": secret}))
    with pytest.raises(BadInput, match="model.safetensors .* holds what looks like a token of the Hub"):
        model_bundle(folder)
    (folder / "model.safetensors").write_bytes(plain)
    found = ModelProto.FromString(pieces())
    found.pieces.add().piece = secret
    (folder / "spiece.model").write_bytes(found.SerializeToString())
    with pytest.raises(BadInput, match="spiece.model .* holds what looks like a token of the Hub"):
        model_bundle(folder)


def test_what_is_what_it_says_is_sent(folder):
    (folder / "tokenizer.model").write_bytes(pieces())
    (folder / "vocab.txt").write_text("ключ 鍵 \u00e9")
    (folder / "tokenizer_config.json").write_text(json.dumps({"token": "<hf_token>", "key": "sk-short", "aws": "AKIA"}))
    assert {"tokenizer.model", "vocab.txt", "tokenizer_config.json"} <= model_bundle(folder).files.keys()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.model", b"not a vocabulary, but somebody's notes"),
        ("tokenizer.model", b""),
        ("spiece.model", pickle.dumps({"a": 1})),
        ("sentencepiece.bpe.model", pieces() + bytes([0xFA, 0x7F, 100]) + b"x" * 100),
        ("tokenizer.json", b"hello"),
        ("generation_config.json", b"[" * 100_000),
        ("vocab.json", b"\xff\xfe{}"),
        ("vocab.txt", pickle.dumps(["a"])),
        ("merges.txt", bytes(range(256))),
        ("chat_template.jinja", b"\x7fELF\x00"),
        ("model-00002.safetensors", pickle.dumps({"weight": 1})),
        ("model-00002.safetensors", weights() + b"and more"),
        ("plots/roc.png", b"<svg onload='x'>"),
    ],
)
def test_what_is_something_else_is_refused(folder, name, content):
    place = folder.parents[1] / name if name.startswith("plots") else folder / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    with pytest.raises(BadInput) as error:
        model_bundle(folder)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_two_names_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere.txt").write_text("whatever it is")
    os.link(tmp_path / "elsewhere.txt", folder / "vocab.txt")
    with pytest.raises(BadInput, match="vocab.txt of .* is a hard link.*Put a copy in its place"):
        model_bundle(folder)
