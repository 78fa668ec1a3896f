"""Folders and files that anyone may have made: what cannot be read as a data set is refused, and never run."""

import random

import pytest

from mubench_hf.data.reading import read_data
from mubench_hf.errors import BadInput

CANARY = "from pathlib import Path\nPath('canary').touch()\n"

FOLDERS = {
    "a script": {"mine/mine.py": CANARY},
    "a pickle": {"mine/data.pkl": "cos\nsystem\n(S'touch canary'\ntR."},
    "a state without a data set": {"mine/state.json": "{}"},
    "splits elsewhere": {"mine/dataset_dict.json": '{"splits": ["../../other"]}'},
    "a broken card": {"mine/README.md": "---\n: : [\n---\n", "mine/a.csv": "text,mood\na,b\n"},
    "a card of a file elsewhere": {
        "mine/README.md": "---\nconfigs:\n- config_name: default\n  data_files: /etc/passwd\n---\n",
    },
    "a broken state": {"mine/state.json": "{", "mine/dataset_info.json": "{"},
    "files of several kinds": {"mine/a.csv": "text,mood\na,b\n", "mine/b.csv": "x\n1\n"},
}  # fmt: skip

FILES = {
    "cut.parquet": b"PAR1" + bytes(100) + b"PAR1",
    "deep.json": b"[" * 100_000,
    "latin.csv": b"text,mood\n" + "ü,x\n".encode("latin1") * 9,
    "wide.csv": "text,mood\nü,x\n".encode("utf-16"),
    "ragged.csv": b"text,mood\na,b\nc,d,e,f\n",
    "empty.jsonl": b"",
    "cut.json": b'{"text": "a", "mo',
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_are_no_data_set(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FOLDERS[what].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match="mine cannot be read as a data set: "):
        read_data("mine")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", [*FILES, "random.csv", "random.json", "random.parquet"])
def test_files_that_are_no_data_set(name, tmp_path):
    content = FILES.get(name) or (b"\xff" + random.randbytes(500) if name not in FILES else b"")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=f"{name} cannot be read as a data set: "):
        read_data(tmp_path / name)
