"""Several checkpoints of a table are evaluated with rows that are loaded once, each as if alone."""

import shutil

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.data.prepare import load_task_data
from mubench_hf.runs.kept_rows import KeptRows
from mubench_hf.runs.setup import make_setup


@pytest.fixture
def loads(monkeypatch):
    made = []
    monkeypatch.setattr("mubench_hf.runs.kept_rows.load_rows", lambda *args: made.append(args) or object())
    return made


def checkpoint(folder, size, width):
    folder.mkdir()
    (folder / "preprocessor_config.json").write_text(f'{{"size": {size}}}')
    (folder / "config.json").write_text(f'{{"width": {width}}}')
    return folder


def test_rows_are_kept_while_table_and_processor_stay(loads, tmp_path):
    one, kept = make_setup("cifar100", variant="mini", out=tmp_path), KeptRows()
    a, b, c = (checkpoint(tmp_path / name, *made) for name, made in {"a": (8, 1), "b": (8, 2), "c": (9, 1)}.items())
    first = kept(one, a)
    assert kept(one, b) is first and kept(one, a) is first and len(loads) == 1
    assert kept(one, c) is not first and kept(one, a) is not first and len(loads) == 3
    other = make_setup("cifar100", variant="mini", out=tmp_path, del_ratio=3)
    assert kept(other, a) is not kept(one, a) and kept(one, a, "else") is not None and len(loads) == 6
    assert kept(one) is kept(one) and len(loads) == 7


@pytest.mark.slow
def test_each_checkpoint_is_evaluated_as_if_alone(own_bench, monkeypatch):
    unlearn = [
        "unlearn",
        "--task",
        "cifar100",
        "--mini",
        "--method",
        "neggrad",
        "--max_steps",
        "1",
        "--evaluate",
        "false",
    ]
    dispatch([*unlearn, "--out", str(own_bench), "--disable_tqdm", "true"])
    folders = sorted(str(folder) for folder in (own_bench / "mubench").glob("cifar100-mini-vit-tiny-*"))
    results, loads = own_bench / "results", []
    monkeypatch.setattr("mubench_hf.runs.train.load_task_data",
                        lambda *args, **kwargs: loads.append(1) or load_task_data(*args, **kwargs))  # fmt: skip
    for folder in reversed(folders):
        dispatch(["evaluate", folder, "--out", str(own_bench)])
    alone = {file.name: file.read_bytes() for file in results.iterdir()}
    shutil.rmtree(results)
    dispatch(["evaluate", *reversed(folders), "--out", str(own_bench)])
    assert {file.name: file.read_bytes() for file in results.iterdir()} == alone
    assert len(folders) == 2 and len(loads) == 3
