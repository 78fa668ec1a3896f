import hashlib
import os
import time
import zipfile

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.runs import store
from mubench_hf.runs.result import RunResult


def make_run(**changes):
    values = dict(
        task="cifar100", variant="full", data_fingerprint="f", deletion_sha256="d", model="vit", method="scrub"
    )
    values |= dict(del_ratio=5, seed=0, status="ok", scores={"test_accuracy": float(np.random.default_rng().random())})
    return RunResult(**(values | changes))


@pytest.fixture
def arrays():
    rng = np.random.default_rng()
    outputs = {
        f"{split}_{what}": rng.normal(size=(rows, 4)).astype(np.float32)
        if what == "logits"
        else rng.integers(4, size=rows)
        for split, rows in (("forget", 5), ("retain", 9), ("test", 7))
        for what in ("logits", "labels")
    }
    outputs |= {"chance": np.asarray(0.25), "test_predictions": np.array(["a text", "", "ümlaut"])}
    return outputs | {"incompetent_forget_logits": rng.normal(size=(5, 4)).astype(np.float32)}


def test_a_saved_result_reads_back_equal(tmp_path):
    run = make_run()
    path = store.save_result(run, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "cifar100-vit-scrub-df5pct-s0.json"
    assert store.load_result(path) == run
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_result(tmp_path, monkeypatch, step):
    old = make_run()
    path = store.save_result(old, tmp_path)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        store.save_result(make_run(status="failed", status_reason="x"), tmp_path)
    monkeypatch.undo()
    assert store.load_result(path) == old
    assert os.listdir(tmp_path) == [path.name]


def test_a_write_that_stops_halfway_leaves_the_old_logits(tmp_path, monkeypatch, arrays):
    path = store.save_logits("run", tmp_path, arrays)
    before = path.read_bytes()

    def half(stream, **_):
        stream.write(b"PK half an archive")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(KeyboardInterrupt):
        store.save_logits("run", tmp_path, arrays)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


def test_data_are_on_disk_before_the_old_file_goes(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(f"fsync {os.fstat(fd).st_size}"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    run = make_run()
    store.save_result(run, tmp_path)
    assert steps == [f"fsync {len(run.to_json())}", "replace"]


def test_results_are_sorted_and_other_files_ignored(tmp_path):
    runs = [make_run(del_ratio=ratio, seed=seed) for ratio in (1, 2, 10) for seed in (0, 2, 10)]
    for index in np.random.default_rng().permutation(len(runs)):
        store.save_result(runs[index], tmp_path)
    (tmp_path / "notes.txt").write_text("no result")
    (tmp_path / ".half.json").write_text("{")
    assert store.load_results(tmp_path) == runs


def test_the_same_run_in_two_files_is_refused(tmp_path):
    path = store.save_result(make_run(), tmp_path)
    (tmp_path / "copy.json").write_text(path.read_text())
    with pytest.raises(BadInput, match="copy.json"):
        store.load_results(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema_version": 1}'])
def test_a_damaged_result_is_named(tmp_path, content):
    store.save_result(make_run(), tmp_path)
    (tmp_path / "broken.json").write_bytes(content)
    for read in (lambda: store.load_results(tmp_path), lambda: store.load_result(tmp_path / "broken.json")):
        with pytest.raises(BadInput, match="broken.json"):
            read()


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(BadInput, match="nowhere"):
        store.load_results(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="nothing.json"):
        store.load_result(tmp_path / "nothing.json")
    with pytest.raises(BadInput, match="nothing.npz"):
        store.load_logits("nothing", tmp_path)
    assert store.load_results(tmp_path) == []


def test_logits_read_back_with_their_types(tmp_path, arrays):
    assert store.save_logits("run", tmp_path, arrays) == tmp_path / "run.npz"
    again = store.load_logits("run", tmp_path)
    assert again.keys() == arrays.keys()
    for key, array in arrays.items():
        assert again[key].dtype == array.dtype
        np.testing.assert_array_equal(again[key], array)


def test_logits_bytes_depend_on_the_arrays_alone(tmp_path, monkeypatch, arrays):
    first = store.save_logits("a", tmp_path, arrays).read_bytes()
    later = time.time() + 10_000_000
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(later))
    shuffled = {key: np.asarray(arrays[key], order="F") for key in reversed(arrays)}
    assert store.save_logits("b", tmp_path, shuffled).read_bytes() == first
    arrays["test_logits"][0, 0] += 1
    changed = store.save_logits("c", tmp_path, arrays).read_bytes()
    assert hashlib.sha256(changed).digest() != hashlib.sha256(first).digest()


def test_unfit_logits_are_refused_before_anything_is_written(tmp_path, arrays):
    bad = {
        "needed are": {key: value for key, value in arrays.items() if key != "test_labels"},
        "extra": arrays | {"extra": np.zeros(3)},
        "forget_labels": arrays | {"forget_labels": np.array(list("abcde"))},
        "retain_logits": arrays | {"retain_logits": np.array([object()] * 9)},
        "test set has 7 rows of logits but 6": arrays | {"test_labels": arrays["test_labels"][1:]},
    }
    for message, content in bad.items():
        with pytest.raises(BadInput, match=message):
            store.save_logits("run", tmp_path, content)
    with pytest.raises(BadInput, match="not a file name"):
        store.save_logits("../run", tmp_path, arrays)
    assert os.listdir(tmp_path) == []


def test_damaged_logits_are_named(tmp_path, arrays):
    path = store.save_logits("run", tmp_path, arrays)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        middle = file.getinfo("retain_logits.npy").header_offset + 200
    for damaged in (b"", whole[: len(whole) // 2], whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="run.npz"):
            store.load_logits("run", tmp_path)


def test_pickled_logits_are_not_opened(tmp_path, arrays):
    np.savez(tmp_path / "run.npz", **(arrays | {"test_labels": np.array([{}] * 7)}))
    with pytest.raises(BadInput, match="run.npz.*allow_pickle"):
        store.load_logits("run", tmp_path)
