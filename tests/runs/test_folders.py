"""A run's folder: held by one process at a time, claimed with the first step, and checked before it is used again."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from processes import run_python

from mubench_hf.errors import BadInput
from mubench_hf.runs.checked import check_files, hashed_files
from mubench_hf.runs.plan import LARGEST_SEED, check_seed
from mubench_hf.runs.record import RECORD, check_folder, load_record
from mubench_hf.runs.train import _evaluation_split
from mubench_hf.trainers import get_method
from mubench_hf.utils import claims
from mubench_hf.utils.claims import Claim
from mubench_hf.utils.locks import LOCK, held, sole_owner

TAKE = """
import sys
from pathlib import Path
from mubench_hf.errors import BadInput
from mubench_hf.utils.locks import sole_owner
try:
    with sole_owner(Path(sys.argv[1]), waits=sys.argv[2] == "wait"):
        print("taken")
        if sys.argv[2] == "die":
            import os
            sys.stdout.flush()
            os._exit(1)
except BadInput as error:
    print(error)
"""


def take(folder, how, env):
    return run_python(TAKE, str(folder), how, env=env, cwd=folder.parent, timeout=60)


def test_who_comes_second_is_told_who_is_first(tmp_path, offline_env):
    folder = tmp_path / "out" / "run"
    with sole_owner(folder):
        with sole_owner(folder):
            pass
        done = take(folder, "refuse", offline_env)
    assert f"is held by process {os.getpid()} on " in done.stdout and done.stdout.count("\n") == 1
    assert not folder.parent.exists(), "nothing is left of a lock"


def test_who_comes_second_waits(tmp_path, offline_env):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").touch()
    found = []
    with sole_owner(tmp_path / "run"):
        other = threading.Thread(target=lambda: found.append(take(tmp_path / "run", "wait", offline_env)))
        other.start()
        other.join(2)
        assert not found
    other.join(60)
    assert found[0].stdout == "taken\n" and "Waiting until it ends" in found[0].stderr
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["kept"]


def test_the_lock_of_a_dead_process_is_free(tmp_path, offline_env):
    folder = tmp_path / "run"
    assert take(folder, "die", offline_env).stdout == "taken\n"
    assert {file.name for file in folder.iterdir()} == {LOCK}
    with sole_owner(folder, waits=False):
        assert json.loads((folder / LOCK).read_text())["process"] == os.getpid()


def test_nothing_is_locked_where_nothing_can_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(30, os.strerror(30), "run")

    monkeypatch.setattr("os.open", refuse)
    with sole_owner(tmp_path):
        pass


def test_of_many_that_ask_at_once_one_has_it(tmp_path):
    """Also where the last holder died: all see it, and one of them takes it."""
    for number in range(20):
        file = tmp_path / f"claim{number}"
        if number % 2:
            file.write_text(json.dumps({"process": 1, "host": "here"}))  # No process has it locked.
        asking, claims_ = threading.Barrier(8), [Claim(file) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            took = list(pool.map(lambda claim, asking=asking: (asking.wait(), claim.take())[1], claims_))
        assert took.count(True) == 1
        claims_[took.index(True)].release()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def elsewhere(tmp_path):
    """A claim that a process of another machine has, as a network file system shows it."""
    file = tmp_path / "claim"
    file.write_text(json.dumps({"process": 7, "host": "far", "since": "then", "machine": "far 1", "locked": True}))
    return file


def test_another_machines_claim_is_lost_without_a_heartbeat_and_not_before(elsewhere, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    for age in (0, claims.EXPIRY / 2, claims.EXPIRY - 1):
        now[0] = 1000 + age
        assert not Claim(elsewhere).take()
    os.utime(elsewhere, (1, 1))  # Whatever its clock says: this is a sign.
    for age in (claims.EXPIRY + 1, 2 * claims.EXPIRY - 1):
        now[0] = 1000 + age
        assert not Claim(elsewhere).take()
    now[0] = 1000 + 2 * claims.EXPIRY + 2
    mine = Claim(elsewhere)
    assert mine.take() and not Claim(elsewhere).take()
    mine.release()
    assert not list(elsewhere.parent.iterdir())


def test_a_live_claim_of_this_machine_never_expires(tmp_path, monkeypatch):
    mine = Claim(tmp_path / "claim")
    assert mine.take()
    monkeypatch.setattr(claims, "EXPIRY", -1)
    assert not Claim(tmp_path / "claim").take()
    mine.release()
    assert Claim(tmp_path / "claim").take()


def test_a_heartbeat_is_seen(tmp_path):
    mine = Claim(tmp_path / "claim")
    assert mine.take()
    os.utime(mine.path, (1, 1))
    mine.beat()
    assert mine.path.stat().st_mtime > 1e9 and not mine.lost
    mine.release()


def test_a_heartbeat_beside_a_release_stops_nobody(tmp_path):
    """The heart beats in a thread of its own, which may hold a claim that is being given back."""
    for number in range(300):
        mine = Claim(tmp_path / f"claim{number}")
        assert mine.take()
        beating = threading.Thread(target=lambda mine=mine: [mine.beat() for _ in range(20)])
        beating.start()
        mine.release()
        beating.join()
        assert not mine.lost


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["in a terminal", "under nohup"])
def on_interrupt(request):
    """What a process does that is interrupted."""
    usual = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("on_interrupt")
def test_who_lost_a_claim_stops_and_leaves_it_to_the_other(tmp_path):
    file = tmp_path / "claim"
    with pytest.raises(BadInput, match="was taken over by process 7 on far since then: for 180 s"), held(file) as claim:
        file.unlink()
        file.write_text(json.dumps({"process": 7, "host": "far", "since": "then", "machine": "far 1"}))
        claim.beat()
        for _ in range(100):
            time.sleep(0.01)  # What is interrupted.
        raise AssertionError("it went on")
    assert json.loads(file.read_text())["process"] == 7


def unlearn(bench, *flags):
    from mubench_hf.cli import dispatch

    words = ["--task", "cifar100", "--mini", "--out", str(bench), "--disable_tqdm", "true", "--evaluate", "false"]
    dispatch(["unlearn", "--method", "neggrad", "--max_steps", "2", *words, *flags])


def folders(bench):
    return {folder.name for folder in (bench / "mubench").iterdir()}


def test_a_command_that_took_no_step_stands_in_nobodys_way(own_bench, quick):
    before = folders(own_bench)
    named = ("--output_dir", str(own_bench / "mubench" / "mine"))
    for flags in (
        ("--gradient_accumulation_steps", "60"),
        ("--seed", str(LARGEST_SEED + 1), "--original_seed", "42"),
        ("--load_best_model_at_end", "true", "--eval_strategy", "epoch"),
        ("--lr_scheduler_type", "reduce_lr_on_plateau", "--eval_strategy", "epoch"),
        ("--metric_for_best_model", "accuracy", "--eval_strategy", "epoch"),
    ):
        with pytest.raises(BadInput) as error:
            unlearn(own_bench, *named, *flags)
        assert "\n" not in str(error.value)
        assert folders(own_bench) == before, flags
    unlearn(own_bench, *named)
    record = load_record(own_bench / "mubench" / "mine")
    assert record.finished
    assert record.files == hashed_files(own_bench / "mubench" / "mine") and "model.safetensors" in record.files
    with pytest.raises(BadInput, match="holds another run"):
        unlearn(own_bench, *named, "--learning_rate", "0.3")


def test_what_never_took_a_step_is_replaced(own_bench, quick):
    """Earlier versions wrote a record before the first step."""
    folder = own_bench / "mubench" / "mine"
    original = load_record(next((own_bench / "mubench").glob("*original*")))
    running = original.__class__(**{**vars(original), "status": "running"})
    running.save(folder)
    other = original.__class__(**{**vars(original), "data_fingerprint": "0" * 64})
    assert check_folder(folder, other) is None
    (folder / "checkpoint-1").mkdir()
    with pytest.raises(BadInput, match="data_fingerprint is"):
        check_folder(folder, other)
    (folder / RECORD).unlink()
    with pytest.raises(BadInput, match="files that are not a run's"):
        check_folder(folder, other)


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
def test_seeds_that_no_generator_takes(seed):
    with pytest.raises(BadInput, match=f"seed is {seed}"):
        check_seed(seed)


SELECTING = (
    {"load_best_model_at_end": True, "eval_strategy": "epoch"},
    {"save_strategy": "best", "eval_strategy": "epoch"},
    {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch"},
)


@pytest.mark.parametrize("settings", SELECTING)
def test_weights_are_chosen_on_validation_rows_or_not_at_all(settings):
    args = get_method("finetune").config_class("x", use_cpu=True, **settings)
    task = SimpleNamespace(dataset_name=lambda variant: "rows-mini")
    splits = {"forget": 0, "retain": 0, "test": 0, "ood": 0}
    with pytest.raises(BadInput, match="rows-mini has no validation rows"):
        _evaluation_split(args, SimpleNamespace(splits=splits, task=task, variant="mini"))
    splits["validation"] = 0
    assert _evaluation_split(args, SimpleNamespace(splits=splits, task=task, variant="mini")) == "validation"
    looks = get_method("finetune").config_class("x", use_cpu=True, eval_strategy="epoch")
    assert _evaluation_split(looks, SimpleNamespace(splits=splits, task=task, variant="mini")) == "test"


def test_a_changed_file_of_a_checkpoint_is_noticed(own_bench):
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    rng = np.random.default_rng(seed)
    folder = next((own_bench / "mubench").glob("*original*"))
    record = load_record(folder)
    check_files(folder, record)
    for name in record.files:
        content = (folder / name).read_bytes()
        place = int(rng.integers(len(content)))
        (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BadInput, match=f"{name} was changed"):
            check_files(folder, record)
        (folder / name).unlink()
        with pytest.raises(BadInput, match=f"{name} is missing"):
            check_files(folder, record)
        check_files(folder, record, only_present=True)
        (folder / name).write_bytes(content)
    check_files(folder, record)
    content = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**content, "seconds": content["seconds"] / 2}))
    with pytest.raises(BadInput, match="changed after it was written"):
        load_record(folder)
