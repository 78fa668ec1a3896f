"""What a run records of its costs, and when two runs' times can be compared."""

import json
import multiprocessing
import random
import time
from types import SimpleNamespace

import pytest
import torch

from mubench_hf.errors import BadInput
from mubench_hf.runs.cost import (
    COSTS,
    HARDWARE,
    SAME_LOAD,
    Meter,
    check_cost,
    compute_seconds,
    joined_cost,
    not_comparable,
)
from mubench_hf.runs.result import RunResult
from mubench_hf.utils.locks import sole_owner
from mubench_hf.utils.spent import Spent, reading

CPU = torch.device("cpu")


def test_a_reading_counts_work_and_not_sleep():
    start = reading()
    time.sleep(0.2)
    slept = reading().since(start)
    total = 0
    while reading().since(start).cpu < 0.1 + slept.cpu:
        total += 1
    assert slept.wall >= 0.2 > 0.1 > slept.cpu and total


def test_a_meter_sees_memory_load_and_nothing_of_an_empty_folder(tmp_path):
    meter = Meter(tmp_path / "run", CPU)
    with meter.running():
        block = bytearray(b"1" * (64 << 20))
    del block
    again = Meter(tmp_path / "run", CPU)
    with again.running():
        pass
    cost = meter.cost(Spent(3.0, 2.0), devices=1)
    assert cost["cpu_seconds"] == 2 and "device_seconds" not in cost and cost["other_runs"] == 0
    assert 0 <= cost["busy"] <= 1 and cost["load_start"] >= 0 and cost["load_end"] >= 0
    if "peak_memory_bytes" in cost:
        assert cost["peak_memory_bytes"] > again.measured["peak_memory_bytes"], "each run's peak is its own"
    check_cost(cost)


def hold(folder, ready, done):
    with sole_owner(folder):
        ready.set()
        done.wait(60)


def test_other_runs_in_the_folder_are_counted(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "other", ready, done))
    other.start()
    try:
        assert ready.wait(60)
        meter = Meter(tmp_path / "mine", CPU)
        with sole_owner(tmp_path / "mine"), meter.running():
            pass
        assert meter.measured["other_runs"] == 1, "its own is no other"
    finally:
        done.set()
        other.join(60)
    with meter.running():
        pass
    assert meter.measured["other_runs"] == 0


def test_seconds_of_processes_are_added_and_of_all_else_the_most_counts():
    parts = [{"cpu_seconds": 1.5, "peak_memory_bytes": 7, "busy": 0.5}, {"cpu_seconds": 2.0, "peak_memory_bytes": 9}]
    assert joined_cost(parts) == {"cpu_seconds": 3.5, "peak_memory_bytes": 9}, "what one of them lacks is not known"


def test_a_gpu_counts_devices():
    meter = Meter("nowhere", torch.device("cuda"))
    assert meter.cost(Spent(3.0, 2.0), devices=2) == {"cpu_seconds": 2.0, "device_seconds": 6.0}
    assert compute_seconds({"cpu_seconds": 2.0, "device_seconds": 6.0}) == 6 and compute_seconds({}) is None
    assert compute_seconds({"cpu_seconds": 2.0}) == 2


def timed(**changed):
    hardware = {"device": "cpu", "cpu": "a processor", "threads": 1, "machine": "x86_64"}
    cost = {"cpu_seconds": 5.0, "busy": 0.5}
    content = {"hardware": hardware, "cost": cost, "world_size": 1}
    for name, value in changed.items():
        if name in content:
            content[name] = value
        else:
            content["hardware" if name in hardware else "cost"] = (hardware if name in hardware else cost) | {
                name: value
            }
    return SimpleNamespace(**content)


def test_times_of_like_runs_are_comparable():
    busy = random.uniform(0, 1 - SAME_LOAD)
    assert not_comparable(timed(busy=busy), timed(busy=busy + 0.99 * SAME_LOAD, load_end=9.0)) is None


@pytest.mark.parametrize("name", HARDWARE)
def test_times_of_other_hardware_are_not(name):
    found = "NVIDIA H100" if name == "device" else 16
    assert "hardware" in not_comparable(timed(), timed(**{name: found}))
    assert str(found) in not_comparable(timed(**{name: found}), timed())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"world_size": 2}, "2 for the retrained"),
        ({"cost": {}}, "not recorded"),
        ({"cost": {"cpu_seconds": 1.0}}, "busy .* not recorded"),
        ({"busy": 0.76}, "load: the machine was 50% busy, and 76%"),
    ],
)
def test_times_under_other_conditions_are_not(changed, reason):
    import re

    assert re.search(reason, not_comparable(timed(), timed(**changed)))
    assert not_comparable(timed(**changed), timed())


@pytest.mark.parametrize(
    "cost", [{"busy": 1.5}, {"cpu_seconds": -1}, {"cpu_seconds": "3"}, {"load_end": True}, {"other": 1},
             {"peak_memory_bytes": float("inf")}, {"cpu_seconds": None}]
)  # fmt: skip
def test_a_cost_that_cannot_be_is_refused(cost):
    with pytest.raises(BadInput, match="allowed"):
        check_cost(cost)


def test_every_cost_is_written_and_read():
    cost = {name: random.random() for name in COSTS}
    named = {"task": "cifar100", "variant": "mini", "model": "vit-tiny", "method": "scrub", "del_ratio": 5, "seed": 3}
    run = RunResult(**named, data_fingerprint="f", deletion_sha256="d", status="ok", scores={"zrf": 0.5}, cost=cost)
    assert type(run).from_json(run.to_json()).cost == cost
    content = json.loads(run.to_json())
    content["cost"]["busy"] = 2
    with pytest.raises(BadInput, match="busy"):
        type(run).from_json(json.dumps(content))
