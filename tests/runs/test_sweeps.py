"""Sweeps: their manifest, who works on which cell, what is lost, what fails, and the plan on paper."""

import contextlib
import json
import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.runs.sweeps import launchers, worker
from mubench_hf.runs.sweeps.estimate import schedule
from mubench_hf.runs.sweeps.ledger import MOST_LOST, Ledger
from mubench_hf.runs.sweeps.manifest import STAGES, Cell, Manifest, load_manifest, share
from mubench_hf.runs.sweeps.watch import MOST_STARTS, watch
from mubench_hf.runs.sweeps.worker import Worker


@pytest.fixture
def draw():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy % 2**32))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(worker, "SECONDS_BETWEEN_LOOKS", 0.01)


def drawn(draw, count=30, tries=2):
    """Return a sweep of cells that need some of those before them, and a table of all."""
    cells = []
    for number in range(count):
        before = [cell for cell in cells if draw.random() < 2 / count]
        stage = max([0, *(STAGES.index(cell.stage) for cell in before)])
        stage = STAGES[min(stage + draw.randrange(2), 4)]
        needs = tuple(cell.id for cell in before)
        cells.append(Cell(f"cell{number}", stage, ("mubench", "build", str(number)), needs, draw.choice("ab")))
    cells.append(Cell("tables", "table", ("mubench", "table", "."), tuple(cell.id for cell in cells)))
    return Manifest({"seeds": [1]}, tuple(cells), tries)


def started(out, manifest):
    manifest.save(out)
    return Ledger(out)


def test_a_manifest_is_read_as_it_was_written(tmp_path, draw):
    manifest = drawn(draw)
    file = manifest.save(tmp_path)
    assert load_manifest(tmp_path) == manifest and manifest.save(tmp_path) == file
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["format"] == 1 and [line["id"] for line in lines[1:]] == [cell.id for cell in manifest.cells]


def test_a_manifest_that_is_not_this_sweeps_is_refused(tmp_path, draw):
    with pytest.raises(BadInput, match="holds no sweep"):
        load_manifest(tmp_path)
    manifest = drawn(draw)
    file = manifest.save(tmp_path)
    with pytest.raises(BadInput, match=r"holds another sweep \(its seeds differ\)"):
        replace(manifest, choices={"seeds": [2]}).save(tmp_path)
    with pytest.raises(BadInput, match="holds another sweep"):
        replace(manifest, cells=manifest.cells[:-1]).save(tmp_path)
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    place = draw.randrange(1, len(lines))
    for edited in (
        whole.replace('"tries": 2', '"tries": 3'),
        "".join([*lines[:place], *lines[place + 1 :]]),
        whole.replace('"build"', '"publish"', 1),
        whole[: len(whole) // 2],
    ):
        file.write_text(edited)
        with pytest.raises(BadInput, match="no manifest that can be used"):
            load_manifest(tmp_path)
    file.write_text(whole.replace('"format": 1', '"format": 2'))
    with pytest.raises(BadInput, match="format 2, and this version reads 1"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    "cell",
    [
        Cell("../x", "data", ("mubench", "build")),
        Cell("x", "data", ("rm", "build")),
        Cell("x", "data", ("mubench", "publish")),
        Cell("x", "start", ("mubench", "build")),
        Cell("x", "data", ("mubench", "build"), ("y",)),
    ],
    ids=["name", "program", "command", "stage", "order"],
)
def test_a_sealed_manifest_runs_only_what_a_sweep_runs(tmp_path, cell):
    Manifest({}, (cell,)).save(tmp_path)
    with pytest.raises(BadInput, match="no manifest that can be used"):
        load_manifest(tmp_path)


def test_many_workers_run_each_cell_once_and_after_what_it_needs(tmp_path, draw):
    manifest = drawn(draw, 60)
    manifest.save(tmp_path)
    ran, lock = [], threading.Lock()

    def execute(cell):
        with lock:
            assert set(cell.needs) <= {name for name, end in ran if end}, cell
            ran.append((cell.id, False))
        with lock:
            ran.append((cell.id, True))
        return "ok"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: Worker(Ledger(tmp_path), execute).run(), range(6)))
    assert Counter(name for name, end in ran if end) == Counter({cell.id: 1 for cell in manifest.cells})
    ledger = Ledger(tmp_path)
    assert ledger.counts() == {"done": len(manifest.cells)} and not list(ledger.claims.iterdir())
    Worker(ledger, lambda cell: pytest.fail("it is done")).run()


def test_what_needs_a_failed_cell_is_not_run_and_says_why(tmp_path, draw):
    manifest = drawn(draw, 40, tries=draw.randrange(1, 4))
    ledger = started(tmp_path, manifest)
    bad = draw.choice(
        [cell for cell in manifest.cells[:-1] if any(cell.id in each.needs for each in manifest.cells[:-1])]
    )
    ran = []

    def execute(cell):
        ran.append(cell.id)
        if cell == bad:
            raise BadInput("no such thing")
        return "ok"

    Worker(ledger, execute).run()
    after = {bad.id}
    for cell in manifest.cells[:-1]:
        if after & set(cell.needs):
            after.add(cell.id)
    states = Ledger(tmp_path).states()
    assert {name for name, state in states.items() if state == "blocked"} == after - {bad.id}
    assert states[bad.id] == "failed" and ran.count(bad.id) == manifest.tries
    assert ledger.note(bad).reasons == ["no such thing"] * manifest.tries
    assert set(ledger.blocked(manifest.cells).values()) == {bad.id}
    assert states["tables"] == "done", "tables are of what there is"
    assert not after & set(ran) - {bad.id}
    # Given again, the command tries what failed, what waited for it, and the tables, but nothing else.
    ledger.try_again()
    ran.clear()
    Worker(ledger, lambda cell: ran.append(cell.id) or "ok").run()
    assert set(ran) == after | {"tables"} and Ledger(tmp_path).counts() == {"done": len(manifest.cells)}


def test_a_lost_workers_cell_is_taken_up_but_not_for_ever(tmp_path, draw):
    manifest = drawn(draw, 5)
    cell = manifest.cells[0]
    ledger = started(tmp_path, manifest)
    for number in range(MOST_LOST + 1):
        assert ledger.begin(cell).lost == number  # And it is never heard of again.
    assert Ledger(tmp_path).states()[cell.id] == "waiting"
    Worker(Ledger(tmp_path), lambda each: pytest.fail("again") if each == cell else "ok").run()
    assert "workers were lost over it" in Ledger(tmp_path).note(cell).reasons[0]


def test_a_worker_that_is_asked_to_end_leaves_its_cell(tmp_path, draw):
    manifest = drawn(draw)
    ledger = started(tmp_path, manifest)

    def execute(cell):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Worker(ledger, execute).run()
    assert Ledger(tmp_path).counts() == {"waiting": len(manifest.cells)} and not list(ledger.claims.iterdir())
    assert not any(ledger.note(cell).lost for cell in manifest.cells)


def test_a_finished_cell_whose_files_are_gone_is_open_again(tmp_path):
    cell = Cell("x", "data", ("mubench", "build"), checkpoint="mubench/x")
    ledger = started(tmp_path, Manifest({}, (cell,)))
    (tmp_path / "mubench" / "x").mkdir(parents=True)
    Worker(ledger, lambda cell: "ok").run()
    assert Ledger(tmp_path).states() == {"x": "done"}
    (tmp_path / "mubench" / "x").rmdir()
    assert Ledger(tmp_path).states() == {"x": "waiting"}


def test_shares_have_every_run_once_and_what_they_need(draw):
    manifest, of = drawn(draw, 60), draw.randrange(2, 6)
    shares = [share(manifest.cells, number, of) for number in range(1, of + 1)]
    runs = [cell for cell in manifest.cells if cell.stage == "unlearn"]
    for each in shares:
        names = {cell.id for cell in each}
        assert all(set(cell.needs) <= names for cell in each)
    assert {cell for each in shares for cell in each if cell.stage == "unlearn"} == set(runs)
    alone = [cell for cell in runs if not any(cell.id in other.needs for other in manifest.cells[:-1])]
    assert all(sum(cell in each for each in shares) == 1 for cell in alone)
    assert share(manifest.cells, 1, 1) == manifest.cells


def test_the_plan_on_paper_keeps_to_the_rules_of_workers(draw):
    for _ in range(20):
        cells, workers = drawn(draw, draw.randrange(2, 40)).cells, draw.randrange(1, 6)
        takes = {cell.id: draw.uniform(1, 9) for cell in cells}
        found = schedule(cells, workers, lambda cell, takes=takes: takes[cell.id], overhead=0.5)
        chain = {}
        for cell in cells:
            chain[cell.id] = takes[cell.id] + 0.5 + max((chain[name] for name in cell.needs), default=0)
        work = sum(takes.values()) + 0.5 * len(cells)
        assert max(max(chain.values()), work / workers) - 1e-9 <= found.seconds <= work + 1e-9
        assert found.idle == pytest.approx(workers * found.seconds - work)
        assert sum(found.busy.values()) == pytest.approx(sum(takes.values()))
        if workers == 1:
            assert found.seconds == pytest.approx(work)


class Workers:
    """Workers that run a cell each, and are then lost."""

    def __init__(self, ledger, jobs, cells_each):
        self.ledger, self.jobs, self.cells_each, self.starts, self.stopped = ledger, jobs, cells_each, 0, False

    def start(self, number):
        self.starts += 1
        left = [self.cells_each]

        def execute(cell):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return "ok"

        with contextlib.suppress(KeyboardInterrupt):
            Worker(Ledger(self.ledger.out), execute).run()

    def ended(self, number):
        return True

    def stop(self):
        self.stopped = True


def test_lost_workers_are_started_again_while_they_get_on(tmp_path, draw, monkeypatch):
    monkeypatch.setattr("mubench_hf.runs.sweeps.watch.SECONDS_BETWEEN_LOOKS", 0)
    ledger = started(tmp_path / "a", drawn(draw, 10))
    workers, lines = Workers(ledger, 2, 1), []
    watch(ledger, workers, lines.append)
    assert workers.starts in (11, 12) and workers.stopped and lines[-1] == "11 done of 11 cells"
    ledger = started(tmp_path / "b", drawn(draw, 10))
    workers = Workers(ledger, 2, 0)
    with pytest.raises(BadInput, match="end as soon as they start"):
        watch(ledger, workers, lines.append)
    assert workers.starts == 2 + MOST_STARTS * 2 and workers.stopped


def test_each_local_job_has_a_gpu_of_its_own(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(launchers.subprocess, "Popen", lambda command, env, **rest: seen.append((command, env)))
    workers = launchers.LocalWorkers(tmp_path, 2, ["5", "MIG-7"])
    workers.start(0), workers.start(1)
    assert [env["CUDA_VISIBLE_DEVICES"] for _, env in seen] == ["5", "MIG-7"]
    assert seen[0][0][1:] == ["-m", "mubench_hf.cli", "sweep", "work", str(tmp_path)]
    with pytest.raises(BadInput, match="--jobs is 3, but 2 GPUs"):
        launchers.LocalWorkers(tmp_path, 3, ["5", "MIG-7"])


def test_jobs_on_the_hub_work_on_a_share_each(monkeypatch):
    asked = []

    def run_job(**given):
        asked.append(given)
        return SimpleNamespace(url=f"job/{len(asked)}", id="x")

    monkeypatch.setattr("huggingface_hub.run_job", run_job)
    words = ["cifar100", "--seeds", "1", "2"]
    engine = {"bucket": "me/sweep", "image": "me/image", "flavor": "a10g-small"}
    assert launchers.submit_jobs(words, 3, engine) == ["job/1", "job/2", "job/3"]
    for number, given in enumerate(asked, start=1):
        assert given["command"] == ["mubench", "sweep", *words, "--out", "/sweep", "--shard", f"{number}/3"]
        assert (given["image"], given["flavor"]) == ("me/image", "a10g-small")
        (volume,) = given["volumes"]
        assert (volume.type, volume.source, volume.mount_path) == ("bucket", "me/sweep", "/sweep")
    for wrong in ({}, {"bucket": "me/x"}, {**engine, "gpus": 3}):
        with pytest.raises(BadInput, match="HF Jobs need"):
            launchers.submit_jobs(words, 1, wrong)
    assert len(asked) == 3


def test_slurm_that_is_not_there_or_not_known_is_one_line(tmp_path):
    pytest.importorskip("submitit")
    for settings in ({"cluster": "pbs"}, {}, {"cluster": "local", "partitoin": "x"}):
        with pytest.raises(BadInput) as error:
            launchers.SlurmWorkers(tmp_path, 1, settings)
        assert "\n" not in str(error.value)
