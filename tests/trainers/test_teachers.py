"""What teachers say, and that a table of their outputs says the same."""

import copy
import json

import numpy as np
import pytest
import torch
from methods import methods_for

from mubench_hf.kinds import get_kind
from mubench_hf.models.loading import weights_sha256
from mubench_hf.models.outputs import row_outputs
from mubench_hf.trainers import Pass, UnlearningConfig, UnlearningTrainer, over_batch
from mubench_hf.trainers._teachers import LiveTeacher, TableTeacher


class Distil(UnlearningTrainer):
    """A method that stays near the original, for whatever a teacher promises."""

    config_class = UnlearningConfig
    title, source = "Distil", "a test"

    def passes(self, epoch):
        return (Pass("union"),)

    def prepare(self):
        self.teacher = self.original_teacher()

    @over_batch
    def compute_loss(self, batch):
        return batch.mean(batch.losses() + batch.divergences(self.teacher, 2.0))


def teachers(trainer):
    """Return the teachers that a method made."""
    return [value for value in vars(trainer).values() if isinstance(value, TableTeacher | LiveTeacher)]


def forwards(monkeypatch, cls):
    """Count the rows that models of a class are asked for, in eval and in training mode."""
    counted = {"eval": 0, "train": 0}
    through = cls.forward

    def forward(self, pixel_values, *args, **kwargs):
        counted["train" if self.training else "eval"] += len(pixel_values)
        return through(self, pixel_values, *args, **kwargs)

    monkeypatch.setattr(cls, "forward", forward)
    return counted


def test_live_teacher(dropout_world):
    model = dropout_world.original().train()
    teacher = LiveTeacher(model, get_kind("classification"))
    pixels = torch.from_numpy(dropout_world.pixels)
    inputs = {"pixel_values": pixels, "labels": torch.from_numpy(dropout_world.labels)}
    found = teacher(inputs, torch.arange(len(pixels)))
    assert not found.requires_grad and not any(weight.requires_grad for weight in model.parameters())
    torch.testing.assert_close(found, dropout_world.original().eval()(pixel_values=pixels).logits.detach())


def test_a_live_teacher_computes_in_the_students_precision(world, make):
    class Seen(Distil):
        """Keeps how far the student is from the original in each update."""

        seen = []

        @over_batch
        def compute_loss(self, batch):
            self.seen.append(batch.divergences(self.teacher, 1.0).detach())
            return batch.mean(batch.losses())

    trainer = make(Seen, world, cache_teacher_outputs=False, bf16=True, max_steps=2, learning_rate=0.05)
    trainer.train()
    # Before the first update they are one model, so that anything between them would be precision alone.
    assert (Seen.seen[0] == 0).all() and (Seen.seen[1] > 0).any()


def test_table_teacher(rng):
    logits = rng.normal(size=(20, 4)).astype("f4")
    rows = torch.from_numpy(rng.integers(20, size=50))
    assert (TableTeacher(logits)({}, rows).numpy() == logits[rows]).all()


def test_table_teacher_knows_what_it_does_not_know(rng):
    held = np.sort(rng.choice(100, 30, replace=False))
    logits = rng.normal(size=(30, 4)).astype("f4")
    rows = np.concatenate([[0, 99], rng.permutation(100)])
    found = TableTeacher(logits, held)({}, torch.from_numpy(rows)).numpy()
    place = {row: number for number, row in enumerate(held)}
    for row, answer in zip(rows, found, strict=True):
        if row in place:
            assert (answer == logits[place[row]]).all()
        else:
            assert np.isnan(answer).all()


@pytest.mark.parametrize("method", [*methods_for("classification"), Distil], ids=str)
def test_table_and_live_teacher_give_the_same_weights(method, dropout_world, make, weights_of):
    ends = []
    for cached in (True, False):
        # The student has dropout, a teacher must not.
        trainer = make(method, dropout_world, cache_teacher_outputs=cached, optim="sgd", learning_rate=0.05)
        trainer.train()
        assert {type(teacher) for teacher in teachers(trainer)} <= {TableTeacher if cached else LiveTeacher}
        ends.append(weights_of(trainer.model))
    original = weights_of(dropout_world.original())
    assert max((ends[0][name] - original[name]).abs().max() for name in original) > 1e-3
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [*methods_for("classification"), Distil], ids=str)
def test_teachers_do_not_change_while_the_student_learns(method, world, make):
    trainer = make(method, world, cache_teacher_outputs=False, learning_rate=0.01)
    trainer.prepare()
    before = [weights_sha256(teacher.model) for teacher in teachers(trainer)]
    trainer = make(method, world, cache_teacher_outputs=False, learning_rate=0.01)
    trainer.train()
    assert [weights_sha256(teacher.model) for teacher in teachers(trainer)] == before
    assert weights_sha256(trainer.model) not in {*before, weights_sha256(world.original())}
    assert not any(weight.requires_grad for teacher in teachers(trainer) for weight in teacher.model.parameters())


def test_the_original_teacher_is_the_original(world, make):
    trainer = make(Distil, world, cache_teacher_outputs=False, learning_rate=0.01)
    trainer.train()
    assert weights_sha256(trainer.teacher.model) == weights_sha256(world.original())


def test_table_on_disk_is_computed_once(world, make, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    counted = forwards(monkeypatch, type(world.original()))
    student = {}
    for run in range(2):
        counted.update(eval=0, train=0)
        trainer = make(Distil, world, teacher_cache_dir=str(cache))
        trainer.train()
        first_batch = 2 * 8  # on which the loss is compared with the model's own
        assert counted["eval"] - first_batch == (len(world.labels) if run == 0 else 0)
        student[run] = counted["train"]
    assert student[0] == student[1] > 0
    (table,) = cache.glob("*.npy")
    assert table.stem == weights_sha256(world.original())[:32]
    assert json.loads(table.with_suffix(".json").read_text())["seconds"] > 0
    expected = row_outputs(world.original(), trainer.rows, trainer.collator.without_flags).logits
    np.testing.assert_array_equal(np.load(table), expected)


def test_interrupted_table_is_computed_again(world, make, tmp_path, weights_of, same_weights):
    first = make(Distil, world, teacher_cache_dir=str(tmp_path / "cache"))
    first.train()
    (table,) = (tmp_path / "cache").glob("*.npy")
    whole = table.read_bytes()
    table.with_suffix(".json").unlink()
    np.save(table, np.zeros((len(world.labels), 5), "f4"))
    again = make(Distil, world, teacher_cache_dir=str(tmp_path / "cache"))
    again.train()
    assert table.read_bytes() == whole and table.with_suffix(".json").exists()
    assert same_weights(weights_of(again.model), weights_of(first.model))


def test_another_original_has_another_table(world, make, tmp_path):
    model = world.original()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.classifier.bias[0] += 1
    for original in (model, changed):
        make(Distil, world, model=original, teacher_cache_dir=str(tmp_path)).prepare()
    tables = sorted(tmp_path.glob("*.npy"))
    assert [table.stem for table in tables] == sorted(weights_sha256(one)[:32] for one in (model, changed))


def test_resumed_run_asks_the_original_not_the_student(world, make, tmp_path):
    """The model in memory holds the original when teachers are made, also where the run goes on later."""
    settings = {"save_strategy": "epoch", "learning_rate": 0.01, "save_total_limit": 2}
    make(Distil, world, **settings).train()
    state = min(tmp_path.glob("run/checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    again = make(Distil, world, **settings)
    again.train(resume_from_checkpoint=str(state))
    expected = row_outputs(world.original(), again.rows, again.collator.without_flags).logits
    np.testing.assert_array_equal(again.teacher.logits, expected)
