"""Bad-T: D_f from an incompetent teacher, D_r from the original, half and half."""

import json

import numpy as np
import pytest
import torch
from formulas import kl

from mubench_hf.errors import BadInput
from mubench_hf.models.loading import reinitialised, weights_sha256
from mubench_hf.trainers import BadTeachingConfig
from mubench_hf.trainers.bad_teaching import bad_teaching_loss
from mubench_hf.utils.sealed import sealed

SEED = 11
"""What `make` seeds a run with."""


def test_each_row_has_its_own_teacher(rng):
    good, bad = (torch.from_numpy(rng.exponential(size=40).astype("f4")) for _ in range(2))
    is_forget = torch.from_numpy(rng.random(40) < 0.5)
    assert bad_teaching_loss(good, bad, is_forget).tolist() == np.where(is_forget, bad, good).tolist()


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_loss_of_every_update(world, updates, shares, logits_of, temperature):
    trainer, found = updates("bad_teaching", world, temperature=temperature, **shares)
    original, incompetent = (
        logits_of(trainer, model) for model in (world.original(), reinitialised(world.original(), SEED))
    )
    for update in found:
        of_forget, of_retain = (kl(teacher, update.student, temperature) for teacher in (incompetent, original))
        expected = np.where(world.is_forget, of_forget, of_retain)[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_each_epoch_is_all_of_d_f_and_as_many_rows_of_d_r(world, make, spy):
    trainer = make("bad_teaching", world)
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        rows = np.concatenate([batch.rows for batch in batches])
        of_forget = world.is_forget[rows]
        assert sorted(rows[of_forget]) == np.flatnonzero(world.is_forget).tolist()
        assert (~of_forget).sum() == of_forget.sum()


@pytest.mark.parametrize("settings", [{}, {"retain_fraction": 0.1}])
def test_the_authors_walk_is_d_f_and_a_fixed_share_of_d_r(world, make, spy, settings):
    trainer = make("bad_teaching", world, walk="subset", num_train_epochs=3, **settings)
    seen = spy(trainer)
    trainer.train()
    walked = [np.concatenate([batch.rows for batch in batches]) for batches in seen.epochs()]
    share = int(np.ceil(settings.get("retain_fraction", 0.3) * len(world.retain)))
    for rows in walked:
        assert sorted(rows) == sorted(walked[0]) and len(set(rows)) == len(world.forget) + share
        assert world.is_forget[rows].sum() == len(world.forget)
    assert any(0 < world.is_forget[batch.rows].mean() != 0.5 for batch in seen.batches), "not half and half"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"walk": "union"}, "walk is 'union'; allowed: 'balanced', 'subset'"),
        ({"retain_fraction": 0.5}, "retain_fraction is 0.5, but a balanced walk .*--walk subset"),
        ({"walk": "subset", "retain_fraction": 0}, "retain_fraction is 0; allowed: a number above 0 and at most 1"),
    ],
)
def test_a_walk_that_is_none_and_a_share_that_does_nothing_are_refused(settings, said):
    with pytest.raises(BadInput, match=said):
        BadTeachingConfig(output_dir="unused", use_cpu=True, **settings)


def test_the_incompetent_teacher_is_the_original_drawn_anew(world, make):
    trainer = make("bad_teaching", world, cache_teacher_outputs=False)
    trainer.train()
    assert weights_sha256(trainer.good.model) == weights_sha256(world.original())
    assert weights_sha256(trainer.bad.model) == weights_sha256(reinitialised(world.original(), seed=SEED))


def test_incompetent_teacher_follows_the_seed(world, make):
    hashes = []
    for seed in (1, 1, 2):
        trainer = make("bad_teaching", world, cache_teacher_outputs=False, seed=seed)
        torch.rand(seed)
        trainer.prepare()
        hashes.append(weights_sha256(trainer.bad.model))
    assert hashes[0] == hashes[1] != hashes[2]
    assert weights_sha256(world.original()) not in hashes


def test_the_incompetent_teacher_is_never_asked_for_d_r(world, make, logits_of):
    trainer = make("bad_teaching", world)
    trainer.prepare()
    rows, outputs = torch.arange(len(world.labels)), logits_of(trainer, world.original()).astype("f4")
    np.testing.assert_array_equal(trainer.good({}, rows).numpy(), outputs)
    bad = trainer.bad({}, rows)
    assert (bad.isnan().all(1).numpy() == ~world.is_forget).all()
    assert bad.isnan().any(1).equal(bad.isnan().all(1))
    assert abs(bad.numpy() - outputs)[world.is_forget].max() > 0.1


def test_a_table_is_charged_for_no_more_updates_than_max_steps_allow(world, make, spy, tmp_path):
    settings = {"teacher_cache_dir": str(tmp_path / "cache"), "num_train_epochs": 50, "max_steps": 3}
    make("bad_teaching", world, **settings).prepare()
    (mark,) = (tmp_path / "cache").glob("*.json")
    mark.write_text(json.dumps(sealed({**json.loads(mark.read_text()), "seconds": 100_000.0})))
    trainer = make("bad_teaching", world, **settings)
    seen = spy(trainer)
    trainer.train()
    rows = np.unique(np.concatenate([batch.rows for batch in seen.batches]))
    read = rows[~world.is_forget[rows]]
    assert trainer.unlearn_seconds == pytest.approx(100_000 * len(read) / len(world.labels), rel=5e-3)


def test_defaults_are_the_papers_but_for_the_walk():
    config = BadTeachingConfig(output_dir="unused", use_cpu=True)
    assert (config.num_train_epochs, config.temperature, config.walk, config.retain_fraction) == (
        1, 1, "balanced", 0.3)  # fmt: skip
