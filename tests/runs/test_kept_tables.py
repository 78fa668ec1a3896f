"""Tables of outputs go when a table of runs is finished, and never under a process that may read them."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mubench_hf.runs import kept_tables
from mubench_hf.runs.kept_tables import ASIDE, IN_USE, remove_tables, using_tables
from mubench_hf.runs.pipeline import Pipeline

READER = """
import sys, time
from pathlib import Path
from mubench_hf.runs.kept_tables import using_tables
with using_tables(Path(sys.argv[1])):
    print("reading", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def tables(tmp_path):
    """A folder with two whole tables, and files that are nobody's outputs."""
    rng = np.random.default_rng()
    for place in ("train", "forget-5"):
        (tmp_path / "cache" / place).mkdir(parents=True)
        name = rng.bytes(16).hex() + ("-cuda" if place == "train" else "")
        np.save(tmp_path / "cache" / place / f"{name}.npy", rng.normal(size=(5, 3)))
        (tmp_path / "cache" / place / f"{name}.json").write_text("{}")
    for other in ("rows-train/pixels.npy", "rows-train/table.json", "forget-5/mine.npy"):
        (tmp_path / "cache" / other).parent.mkdir(exist_ok=True)
        (tmp_path / "cache" / other).write_bytes(rng.bytes(9))
    return tmp_path / "cache"


def content(tables):
    return {file.relative_to(tables).as_posix(): file.read_bytes() for file in tables.rglob("*") if file.is_file()}


def test_tables_go_and_nothing_else_does(tables):
    before = content(tables)
    remove_tables(tables)
    kept = {name: bytes_ for name, bytes_ in before.items() if name.startswith("rows") or name.endswith("mine.npy")}
    assert content(tables) == kept and len(kept) == 3 and not (tables / "train").exists()
    remove_tables(tables / "nowhere")


def test_while_one_is_read_all_are_kept(tables):
    before = content(tables)
    with using_tables(tables), using_tables(tables):
        remove_tables(tables)
        assert before.items() <= content(tables).items()
    assert content(tables) == before and not (tables / IN_USE).exists(), "claims leave nothing behind"


def test_a_reader_that_comes_in_between_keeps_its_table(tables, monkeypatch):
    """It has noted that it reads, and opened the table, after the first look and before the second."""
    before, asked = content(tables), []
    table = next((tables / "train").glob("*.npy"))
    values = np.load(table)

    def in_use(folder, _in_use=kept_tables._in_use):
        asked.append(sorted(file.name for file in folder.glob("train/*")))
        return _in_use(folder) or len(asked) == 2

    monkeypatch.setattr(kept_tables, "_in_use", in_use)
    opened = np.load(table, mmap_mode="r")
    remove_tables(tables)
    assert len(asked) == 2 and all(name.endswith(ASIDE) for name in asked[1]), "nobody can open it meanwhile"
    assert content(tables) == before and np.array_equal(opened, values)


def test_what_an_interrupted_removal_left_goes_with_the_next(tables):
    for file in list((tables / "train").iterdir()):
        file.rename(file.with_name(file.name + ASIDE))
    remove_tables(tables)
    assert not [name for name in content(tables) if name.endswith(ASIDE)]


@pytest.mark.slow
def test_another_process_is_seen_until_it_ends_however_it_ends(tables, offline_env):
    before = content(tables)
    argv = [sys.executable, "-c", textwrap.dedent(READER), str(tables)]
    with subprocess.Popen(argv, env=offline_env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "reading\n"
        remove_tables(tables)
        assert before.items() <= content(tables).items()
        os.kill(child.pid, signal.SIGKILL)
    remove_tables(tables)
    assert len(content(tables)) == 3, "a killed reader reads nothing"


def test_where_nothing_may_be_written_work_goes_on(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "no")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with using_tables(tmp_path / "cache"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_finished_benchmark_leaves_no_table_and_no_state(every_method):
    assert not list(every_method.glob(".cache/*/*/*.npy")) and not list(every_method.rglob("checkpoint-*"))


@pytest.mark.slow
def test_a_failed_run_keeps_them_for_the_next_try(quick, own_bench, monkeypatch):
    seen = []

    def failing(*args, **kwargs):
        seen.extend(own_bench.glob(".cache/*/train/*.npy"))
        raise RuntimeError("no room")

    def pipeline():
        return Pipeline("cifar100", variant="mini", out=own_bench, methods=["scrub"], seeds=[42])

    with monkeypatch.context() as patch:
        patch.setattr("mubench_hf.trainers.scrub.ScrubTrainer.compute_loss", failing)
        assert "failed" in {result.status for result in pipeline().run()}
    assert seen and all(table.is_file() for table in seen)
    assert {result.status for result in pipeline().run()} == {"ok"}
    assert not list(own_bench.glob(".cache/*/*/*.npy"))
