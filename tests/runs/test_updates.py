"""A preset says the rows of an update: any number of processes makes the same updates, under the same name."""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.runs.plan import make_plan, preset
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.updates import ACCUMULATION, ROWS, check_equal_updates, divided, of_one_process
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.trainers import ScrubConfig, get_method, list_methods
from mubench_hf.trainers._passes import Pass, PassSampler

PASSES = "forget_batch_size"


@contextmanager
def joined(processes):
    """Let configs believe that so many processes are joined."""
    with (
        patch.object(ScrubConfig, "world_size", processes),
        patch.object(get_method("retrain").config_class, "world_size", processes),
    ):
        yield


def made(**settings):
    return ScrubConfig(output_dir="unused", use_cpu=True, **settings)


@pytest.fixture
def rng():
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print("seed", seed)
    return np.random.default_rng(seed)


@pytest.fixture
def some_preset(rng):
    """A preset whose updates eight processes can share."""
    steps = int(rng.choice([1, 2, 4, 16]))
    return {ROWS: 8 * int(rng.integers(1, 9)), ACCUMULATION: steps, PASSES: 8 * int(rng.integers(1, 5)),
            "learning_rate": 1e-3}  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_processes_share_the_rows_of_an_update(processes, some_preset):
    shared = divided(some_preset, ScrubConfig, processes)
    for name in (ROWS, PASSES):
        assert shared[name] * shared[ACCUMULATION] * processes == some_preset[name] * some_preset[ACCUMULATION]
    assert shared[ROWS] <= some_preset[ROWS] and shared["learning_rate"] == 1e-3


def test_accumulation_gives_way_before_the_rows_that_a_process_holds():
    assert divided({ROWS: 2, ACCUMULATION: 16}, ScrubConfig, 8) == {ROWS: 2, ACCUMULATION: 2}
    assert divided({ROWS: 1, ACCUMULATION: 4}, ScrubConfig, 2) == {ROWS: 1, ACCUMULATION: 2}
    assert divided({}, ScrubConfig, 8) == {ROWS: 1, ACCUMULATION: 1}  # By default an update has 8 rows.


@pytest.mark.parametrize("processes", [2, 8])
def test_the_updates_are_the_same_rows(processes, some_preset, rng):
    is_forget = rng.permutation(np.arange(704) < 152)

    def sampler(settings, **where):
        passes = (Pass("forget", settings[PASSES]), Pass("retain"))
        return PassSampler(is_forget, lambda epoch: passes, seed=3, batch_size=settings[ROWS],
                           accumulation=settings[ACCUMULATION], **where)  # fmt: skip

    alone = sampler({**some_preset, ACCUMULATION: 1})
    shared = [
        sampler(divided({**some_preset, ACCUMULATION: 1}, ScrubConfig, processes), world_size=processes, rank=rank)
        for rank in range(processes)
    ]
    check_equal_updates(shared[0], 2, 1)
    for update, *parts in zip(alone, *shared, strict=True):
        assert sorted(update) == sorted(row for part in parts for row in part)


def test_an_update_with_too_few_rows_for_all_is_refused():
    one = PassSampler(np.arange(60) < 15, lambda epoch: (Pass("forget"),), seed=1, batch_size=1, world_size=8)
    with pytest.raises(BadInput, match="^One process makes 2 updates in epoch 1, but 8 would make 1"):
        check_equal_updates(one, 1, accumulation=1)


def test_what_does_not_divide_is_refused():
    with pytest.raises(BadInput, match="have 10 rows .*3 processes cannot share equally.*.1, 2, 5, 10.,"):
        divided({ROWS: 10}, ScrubConfig, 3)
    with pytest.raises(BadInput, match="forget_batch_size 4.* .1, 2, 4.,"):
        divided({ROWS: 16, PASSES: 4}, ScrubConfig, 8)


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_equal_updates_are_named_alike(processes, some_preset):
    with joined(processes):
        usual = of_one_process(made(**divided(some_preset, ScrubConfig, processes)), some_preset)
        one = of_one_process(made(**{**divided(some_preset, ScrubConfig, processes), ROWS: 3}), some_preset)
    assert {name: getattr(usual, name) for name in some_preset} == some_preset
    if processes > 1:  # What a user gives is each process's; alone it is the same number times the processes.
        assert getattr(one, ROWS) == 3 * processes
    assert usual.output_dir == "unused" and usual.seed == 42


@pytest.mark.parametrize("task", list_tasks())
def test_two_processes_share_every_preset(task):
    for variant in ("full", "mini"):
        source = get_task(task).source(variant)
        for method in (ORIGINAL, *list_methods()):
            own = source.recipe if method == ORIGINAL else source.presets.get(method, {})
            divided({**source.settings, **own}, get_method("retrain" if method == ORIGINAL else method).config_class, 2)


def test_a_run_has_one_name_whatever_the_processes(tmp_path):
    def plan(processes, method="scrub", **flags):
        setup = make_setup("cifar100", variant="mini", out=tmp_path)
        config = get_method("retrain" if method == ORIGINAL else method).config_class
        start = None if method == ORIGINAL else f"mubench/{setup.original(42).name}"
        settings = {**divided(preset(setup, method), config, processes), **flags}
        with joined(processes):
            found = make_plan(setup, method, config(output_dir="", use_cpu=True, **settings), start=start)
            return found.run.name, found.recorded

    for method in ("scrub", ORIGINAL):
        assert plan(1, method) == plan(2, method) == plan(8, method) and "-x" not in plan(8, method)[0]
    assert plan(1, per_device_train_batch_size=48) == plan(2, per_device_train_batch_size=24) != plan(1)
    assert plan(2, per_device_train_batch_size=32)[0] != plan(1)[0] == plan(1, per_device_train_batch_size=32)[0]
