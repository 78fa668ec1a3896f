"""A built folder holds every row once, in the promised order, in few bytes, and is whole or not there at all."""

import hashlib
import json
import os
import signal
import sys
import threading
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from processes import run_python
from unsealed import unsealed

from mubench_hf.data import build
from mubench_hf.data.card import FORGET_FILES, RETAIN_FILE
from mubench_hf.data.parquet import block_features, write_parquet
from mubench_hf.data.splits import deletion_draws, list_sha256, stream
from mubench_hf.errors import BadInput

BUILD = sys.modules["mubench_hf.data.build"]


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def stored(data, split):
    """Return (encoded image, label) of each row as it lies in the table."""
    table = data[split].with_format("arrow")[:]
    return [(row["image"]["bytes"], row["label"]) for row in table.to_pylist()]


def test_every_row_stands_in_its_block(mini_out, mini_data):
    folder = mini_out / "mubench" / "cifar100-mini"
    upstream = stored(mini_data, "train")
    draws = deletion_draws([label for _, label in upstream], 10, stream(None))
    kept = np.setdiff1d(np.arange(1000), np.concatenate(draws))
    for name, expected in zip([*FORGET_FILES, RETAIN_FILE], [*draws, kept], strict=True):
        rows = pq.read_table(folder / name).to_pylist()
        assert [row["index"] for row in rows] == expected.tolist(), name
        assert [(row["image"]["bytes"], row["label"]) for row in rows] == [upstream[i] for i in expected], name
    test = pq.read_table(folder / "data/test.parquet").to_pylist()
    assert [(row["index"], row["image"]["bytes"], row["label"]) for row in test] == [
        (index, *row) for index, row in enumerate(stored(mini_data, "test"))
    ]


def test_folder_costs_little_more_than_its_rows(mini_out, mini_data, tmp_path):
    once = 0
    for split, rows in mini_data.items():
        file, features = tmp_path / f"{split}.parquet", block_features(rows, ("image", "label"))
        write_parquet(file, rows, np.arange(len(rows)), features, split=split)
        once += file.stat().st_size
    built = sum(map(len, contents(mini_out / "mubench" / "cifar100-mini").values()))
    print(f"{built} bytes built, {once} bytes written once: {built / once:.4f}")
    assert built <= 1.02 * once


def test_building_twice_gives_the_same_bytes(task, mini_out, tmp_path):
    again = build(task, variant="mini", out=tmp_path)
    assert contents(again) == contents(mini_out / "mubench" / "cifar100-mini")


def test_manifest_tells_what_is_there(mini_out, mini_data):
    folder = mini_out / "mubench" / "cifar100-mini"
    manifest = json.loads((folder / "mubench.json").read_text())
    files = {name: data for name, data in contents(folder).items() if name.endswith(".parquet")}
    assert {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
    }
    assert [manifest["files"][name]["rows"] for name in FORGET_FILES] == [10] * 10
    assert (manifest["files"][RETAIN_FILE]["rows"], manifest["files"]["data/test.parquet"]["rows"]) == (900, 797)
    order = np.concatenate([pq.read_table(folder / name)["index"].to_numpy() for name in FORGET_FILES])
    assert manifest["deletion_list"] == {
        "rule": "by_class", "stream": None, "rows": 100, "sha256": list_sha256(order)
    }  # fmt: skip
    assert (manifest["task"], manifest["source"]) == ("cifar100", "mini")
    assert manifest["upstream"] == {"id": None, "revision": None, "raw": False}


def test_fingerprint_follows_the_rows(made_up, tmp_path):
    prints = []
    for number, rows in enumerate((400, 400, 401)):
        folder = build(made_up(train=rows), variant="full", out=tmp_path / str(number))
        prints.append(json.loads((folder / "mubench.json").read_text())["fingerprint"])
    assert prints[0] == prints[1] != prints[2]


def test_images_are_neither_decoded_nor_encoded_again(made_up, tmp_path, monkeypatch):
    from datasets import Image

    def refuse(*args, **kwargs):
        raise AssertionError("an image was decoded or encoded")

    made = made_up()
    monkeypatch.setattr(Image, "decode_example", refuse)
    monkeypatch.setattr(Image, "encode_example", refuse)
    folder = build(made, variant="full", out=tmp_path)
    rows = pq.read_table(folder / RETAIN_FILE).to_pylist()
    upstream = stored(made.full.load(None), "train")
    assert len(rows) == 370
    assert all(row["image"]["bytes"] == upstream[row["index"]][0] for row in rows)


def test_rows_that_point_to_files_take_the_bytes_along(made_up, tmp_path):
    from datasets import Dataset, DatasetDict

    def to_files(data):
        moved = DatasetDict()
        for split, rows in data.items():
            (tmp_path / split).mkdir()
            table = rows.with_format("arrow")[:].to_pylist()
            for number, row in enumerate(table):
                file = tmp_path / split / f"{number}.jpg"
                file.write_bytes(row["image"]["bytes"])
                row["image"] = {"bytes": None, "path": str(file)}
            columns = {"image": [row["image"] for row in table], "label": [row["label"] for row in table]}
            moved[split] = Dataset.from_dict(columns, features=rows.features)
        return moved

    inside, outside = made_up(), made_up(change=to_files)
    rows = pq.read_table(build(outside, variant="full", out=tmp_path / "out") / RETAIN_FILE).to_pylist()
    upstream = stored(inside.full.load(None), "train")
    assert [row["image"]["bytes"] for row in rows] == [upstream[row["index"]][0] for row in rows]
    assert not [row["image"]["path"] for row in rows if str(tmp_path) in row["image"]["path"]], "a local path leaked"


def test_large_rows_go_in_small_groups(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr("mubench_hf.data.parquet.GROUP_BYTES", 20_000)
    file = pq.ParquetFile(build(made_up(), variant="full", out=tmp_path) / RETAIN_FILE)
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups[0] == 100 and sum(groups) == 370
    assert len(groups) > 5 and max(groups[1:]) * 600 < 40_000
    assert file.read()["index"].to_numpy().tolist() == sorted(set(file.read()["index"].to_pylist()))


def test_a_built_folder_is_kept_and_not_read_again(task, mini_out):
    folder = mini_out / "mubench" / "cifar100-mini"
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    unreadable = replace(task, mini=replace(task.mini, load=None))
    assert build(unreadable, variant="mini", out=mini_out) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "mubench.json").unlink(), "mubench.json is missing or not usable"),
        (lambda folder: (folder / "mubench.json").write_text("[]"), "mubench.json is missing or not usable"),
        (lambda folder: (folder / RETAIN_FILE).write_bytes(b"PAR1"), "retain.parquet changed"),
        (lambda folder: (folder / FORGET_FILES[3]).unlink(), "forget_04.parquet missing"),
        (lambda folder: (folder / "README.md").unlink(), "README.md missing"),
        (lambda folder: (folder / "README.md").write_text("# Other rows"), "README.md changed"),
        (lambda folder: change(folder, '"rows": ', '"rows": 1'), "it was changed after it was written"),
        (lambda folder: edit(folder, task="imdb"), "task 'imdb' in place of 'cifar100'"),
        (lambda folder: edit(folder, source="mini"), "source 'mini' in place of 'full'"),
        (lambda folder: edit(folder, files={}), "fingerprint"),
    ],
)
def test_something_else_in_its_place_is_not_overwritten(made_up, tmp_path, spoil, message):
    made = made_up()
    folder = build(made, variant="full", out=tmp_path)
    spoil(folder)
    before = contents(folder)
    with pytest.raises(BadInput, match=message) as error:
        build(made, variant="full", out=tmp_path)
    assert str(folder) in str(error.value) and "delete the folder" in str(error.value)
    assert contents(folder) == before


def change(folder, found, put):
    text = (folder / "mubench.json").read_text()
    assert found in text
    (folder / "mubench.json").write_text(text.replace(found, put, 1))


def edit(folder, **values):
    manifest = json.loads(unsealed((folder / "mubench.json").read_text()))
    (folder / "mubench.json").write_text(json.dumps(manifest | values))


def test_a_flipped_byte_is_found(made_up, tmp_path):
    made = made_up()
    file = build(made, variant="full", out=tmp_path) / "data" / "test.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BadInput, match="test.parquet changed"):
        build(made, variant="full", out=tmp_path)


def test_an_error_half_way_leaves_nothing(made_up, tmp_path, monkeypatch):
    made, seen = made_up(), []

    def break_at_retain(path, *args, **kwargs):
        seen.append(path)
        if path.name == "retain.parquet":
            raise RuntimeError("disk gone")
        write_parquet(path, *args, **kwargs)

    monkeypatch.setattr(BUILD, "write_parquet", break_at_retain)
    with pytest.raises(RuntimeError, match="disk gone"):
        build(made, variant="full", out=tmp_path)
    assert len(seen) == 11 and list((tmp_path / "mubench").iterdir()) == []
    monkeypatch.undo()
    assert build(made, variant="full", out=tmp_path).is_dir()


KILLED = """
import os, signal, sys
from pathlib import Path
import mubench_hf.data, mubench_hf.tasks
module = sys.modules["mubench_hf.data.build"]
write = module.write_parquet
def kill_at_retain(path, *args, **kwargs):
    if path.name == "retain.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *args, **kwargs)
module.write_parquet = kill_at_retain
module.build(mubench_hf.tasks.get_task("cifar100"), variant="mini", out=Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_half_way_leaves_nothing_half_made(task, mini_out, tmp_path):
    killed = run_python(KILLED, str(tmp_path), env=dict(os.environ), cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = list((tmp_path / "mubench").iterdir())
    assert left and all(path.name.startswith(".") for path in left), "half of it is there under its own name"
    folder = build(task, variant="mini", out=tmp_path)
    assert list((tmp_path / "mubench").iterdir()) == [folder]
    assert contents(folder) == contents(mini_out / "mubench" / "cifar100-mini")


def test_builders_at_the_same_time_agree(made_up, tmp_path):
    made, results = made_up(), []

    def work():
        results.append(build(made, variant="full", out=tmp_path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [tmp_path / "mubench" / "cifar100"] * 4
    assert list((tmp_path / "mubench").iterdir()) == results[:1]


def test_the_bar_shows_only_where_it_is_wanted(made_up, tmp_path, capfd):
    build(made_up(), variant="full", out=tmp_path / "1", progress=True)
    assert "Writing rows: 100%" in capfd.readouterr().err
    build(made_up(), variant="full", out=tmp_path / "2")  # No terminal here.
    build(made_up(), variant="full", out=tmp_path / "3", progress=False)
    assert "Writing rows" not in capfd.readouterr().err
