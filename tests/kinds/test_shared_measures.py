"""Processes that measure a model together find what one finds, bit by bit, and end together."""

import numpy as np
import pytest
import torch
from processes import forked

from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models.outputs import cached_row_outputs, row_outputs
from mubench_hf.utils.processes import agreed, by_first, spread, together


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype and np.array_equal(
            found[name], values, equal_nan=values.dtype.kind == "f"
        ), name


@pytest.mark.parametrize("kind", ["causal_world", "bart_world"])
def test_texts_and_tokens(kind, request, tmp_path, monkeypatch):
    world = request.getfixturevalue(kind)
    model, done = world.original(), []
    monkeypatch.setattr("mubench_hf.kinds.measures._tokens.BATCH", 3)
    monkeypatch.setattr("mubench_hf.kinds.measures._tokens.GENERATION_BATCH", 2)
    measure = get_measure(world.kind.key)
    run = measure.kind.run
    monkeypatch.setattr(measure.kind, "run", lambda *args: (done.append(1), run(*args))[1])
    wanted, batches = measure.measure(model, world.data(), 3), len(done)

    def work(rank):
        done.clear()
        with together():
            return measure.measure(model, world.data(), 3), len(done)

    told = forked(work, tmp_path)
    for found, _ in told:
        assert_same(found, wanted)
    assert sum(count for _, count in told) == batches and all(0 < count < batches for _, count in told)


class Classifier(torch.nn.Module):
    """A model of one layer; some draw random numbers in evaluation too, as ViLT does."""

    def __init__(self, draws):
        super().__init__()
        self.layer, self.draws = torch.nn.Linear(4, 3), draws

    def forward(self, values):
        return {"logits": self.layer(values) + (torch.rand(len(values), 1) if self.draws else 0)}


@pytest.fixture
def table(rng):
    values = torch.from_numpy(rng.normal(size=(23, 4)).astype("f4"))
    return [{"values": row, "labels": 0} for row in values]


@pytest.mark.parametrize("draws", [False, True])
@pytest.mark.parametrize("size", [2, 5, 30])  # Of 30 rows there is one batch, and nothing for the second process.
def test_logits(draws, size, table, tmp_path):
    model = Classifier(draws)
    wanted = row_outputs(model, table, batch_size=size).logits

    def work(rank):
        alone = row_outputs(model, table[:3], batch_size=size).logits  # Each its own, without waiting for the other.
        with together():
            return row_outputs(model, table, batch_size=size).logits, alone

    for found, alone in forked(work, tmp_path):
        assert np.array_equal(found, wanted) and len(alone) == 3


def test_a_table_is_written_once_and_read_by_all(table, tmp_path, monkeypatch):
    model, written = Classifier(False), []
    monkeypatch.setattr("mubench_hf.models.outputs._table_name", lambda model: "table")
    through = np.save
    monkeypatch.setattr(np, "save", lambda *args: (written.append(1), through(*args))[1])

    def work(rank):
        with together():
            first = cached_row_outputs(model, table, tmp_path / "kept", batch_size=4)
            again = cached_row_outputs(model, table, tmp_path / "kept", batch_size=4)
        return first.logits.copy(), again.logits.copy(), first.spent == again.spent, len(written)

    told = forked(work, tmp_path)
    assert [each[3] for each in told] == [1, 0] and all(each[2] for each in told)
    assert all(np.array_equal(first, again) for first, again, *_ in told)


def test_the_first_decides_for_all(tmp_path):
    def work(rank):
        with together():
            return by_first(lambda: f"of {rank}"), agreed(lambda: rank), spread("abc", lambda letter: (letter, rank))

    shared = ("of 0", [0, 1], [("a", 0), ("b", 1), ("c", 0)])
    assert forked(work, tmp_path) == [shared, shared]


@pytest.mark.parametrize(("error", "told"), [
    (BadInput("no such thing"), "BadInput: no such thing"),
    (torch.OutOfMemoryError("CUDA out of memory."), "OutOfMemoryError: CUDA out of memory."),
    (KeyError("a"), "KeyError: 'a'"),
])  # fmt: skip
def test_an_error_in_one_process_ends_all(error, told, tmp_path):
    def fails(rank):
        if rank == 1:
            raise error

    def work(rank):
        with together():
            agreed(lambda: fails(rank))

    other = "RuntimeError: " + (told if "Key" in told else "CUDA out of memory.")
    assert forked(work, tmp_path) == [told if "Bad" in told else other, told]
