"""One task as the demo shows it: rows, answers equal to what was measured, own input, and many who ask at once."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from unsealed import unsealed

from mubench_hf.demo import DemoRuns
from mubench_hf.demo.membership import Attacker
from mubench_hf.errors import BadInput
from mubench_hf.runs.store import load_logits

METHODS = ["original", "retrain", "finetune"]
SIZES = {"forget": 50, "retain": 950, "test": 797}


@pytest.fixture
def rng():
    return np.random.default_rng()


def outputs(out, method):
    return load_logits(f"cifar100-mini-vit-tiny-{method}-df5pct-s3", out / "results")


def test_it_says_what_it_shows(cifar):
    assert cifar.title.startswith("CIFAR-100-mini (not CIFAR-100) · vit-tiny · 5% deleted")
    assert {split: cifar.count(split) for split in SIZES} == SIZES
    image, label = cifar.inputs
    assert (image.name, image.medium, image.label, image.optional) == ("image", "image", "Image", False)
    assert (label.medium, label.choices, label.optional) == ("choice", tuple("0123456789"), True)


def test_answers_are_what_was_measured(cifar, cifar_out, rng):
    for method in METHODS:
        measured = outputs(cifar_out, method)
        for split, size in SIZES.items():
            position = int(rng.integers(size))
            sample = cifar.sample(split, position)
            answer = cifar.answer(method, sample)
            logits, label = (measured[f"{split}_{what}"][position] for what in ("logits", "labels"))
            assert sample.truth == answer.truth == str(label)
            np.testing.assert_allclose(list(answer.probabilities.values()), softmax(logits.astype(float)), atol=1e-5)
            assert list(answer.probabilities) == list("0123456789") and answer.seed == 3
            assert answer.loss == pytest.approx(-log_softmax(logits.astype(float))[label], abs=1e-5)
            assert answer.membership == Attacker(measured).membership(answer.loss)
            assert answer.membership_reason is answer.text is answer.image is None


def test_samples_stand_in_upstream_order(cifar, rng):
    for split, size in SIZES.items():
        indices = [cifar.sample(split, place).index for place in range(size)]
        assert indices == sorted(set(indices)) and len(indices) == size
    sample = cifar.sample("forget", 0)
    assert sample.split == "forget" and sample.shown[0].value.size == (192, 192)
    # Enlarged square by square: each pixel of the row is there.
    assert np.array_equal(np.asarray(sample.shown[0].value)[::12, ::12], np.asarray(sample.row["image"]))


@pytest.mark.parametrize("position", [-1, 50, 1.5, "3", None])
def test_a_row_that_is_not_there(cifar, position):
    with pytest.raises(BadInput, match="from 0 to 49"):
        cifar.sample("forget", position)


def test_unknown_names(cifar):
    with pytest.raises(BadInput, match="Did you mean 'forget'"):
        cifar.count("forgot")
    with pytest.raises(BadInput, match="Did you mean 'retrain'"):
        cifar.answer("retrained", cifar.sample("test", 0))
    with pytest.raises(BadInput, match="Did you mean 'image'"):
        cifar.own({"imag": "x.png"})
    with pytest.raises(BadInput, match="Image is left out"):
        cifar.own({"label": "3"})


def test_ones_own_is_answered_as_the_same_row_is(cifar, tmp_path, rng):
    sample = cifar.sample("forget", int(rng.integers(50)))
    sample.row["image"].save(tmp_path / "own.png")
    mine = cifar.own({"image": str(tmp_path / "own.png"), "label": sample.truth})
    assert mine.split is mine.index is None and mine.truth == sample.truth
    assert cifar.answer("finetune", mine) == cifar.answer("finetune", sample)


def test_without_its_truth_there_is_no_membership(cifar, tmp_path):
    sample = cifar.sample("test", 3)
    sample.row["image"].save(tmp_path / "own.png")
    mine = cifar.own({"image": tmp_path / "own.png", "label": None})
    answer = cifar.answer("original", mine)
    assert mine.truth is answer.truth is answer.loss is answer.membership is None
    assert "not given" in answer.membership_reason
    assert answer.probabilities == cifar.answer("original", sample).probabilities
    assert "the first choice of the original" in cifar.sentence([answer])


def test_many_who_ask_at_once_get_what_one_gets(cifar_out, monkeypatch, rng):
    from mubench_hf.demo import bench as module

    loads, load = [], module.load_model
    monkeypatch.setattr(module, "load_model", lambda folder, *args: loads.append(folder) or load(folder, *args))
    asked = [(METHODS[m], split, int(rng.integers(50))) for m in range(3) for split in SIZES for _ in range(10)]
    order = [asked[place] for place in rng.permutation(len(asked))]

    def ask(bench, method, split, position):
        return bench.answer(method, bench.sample(split, position))

    with ThreadPoolExecutor(8) as pool:
        runs = DemoRuns.local(cifar_out)
        found = list(pool.map(lambda one: ask(runs.bench("cifar100-mini", 5), *one), order))
    assert len(loads) == len(set(loads)) == 3
    alone = DemoRuns.local(cifar_out).bench("cifar100-mini", 5)
    assert found == [ask(alone, *one) for one in order]


def test_an_answer_is_worked_out_once(cifar, monkeypatch):
    sample = cifar.sample("retain", 5)
    first = cifar.answer("retrain", sample)
    monkeypatch.setattr(cifar, "_ask", lambda *_: pytest.fail("asked again"))
    assert cifar.answer("retrain", cifar.sample("retain", 5)) is first


def test_without_outputs_the_reason_is_named(cifar_out, tmp_path):
    out = shutil.copytree(cifar_out, tmp_path / "out")
    for file in (out / "results").glob("*retrain*.npz"):
        file.unlink()
    bench = DemoRuns.local(out).bench("cifar100-mini", 5)
    answer = bench.answer("retrain", bench.sample("test", 0))
    assert answer.membership is None and "Cannot read the logits" in answer.membership_reason
    assert answer.probabilities and bench.answer("finetune", bench.sample("test", 0)).membership is not None


def test_other_rows_are_refused(cifar_out, tmp_path):
    out = shutil.copytree(cifar_out, tmp_path / "out")
    for file in (out / "results").glob("*.json"):
        file.write_text(json.dumps({**json.loads(unsealed(file.read_text())), "data_fingerprint": "f" * 64}))
    with pytest.raises(BadInput, match=r"not those that the models were trained on \(f{12}\)"):
        DemoRuns.local(out).bench("cifar100-mini", 5).sample("test", 0)


def test_a_checkpoint_that_is_another_runs_is_refused(cifar_out, tmp_path):
    out = shutil.copytree(cifar_out, tmp_path / "out")
    folder = out / "mubench" / "cifar100-mini-vit-tiny-finetune-df5pct-s3"
    other = out / "mubench" / "cifar100-mini-vit-tiny-finetune-df5pct-s7"
    shutil.copy(other / "run.json", folder)
    bench = DemoRuns.local(out).bench("cifar100-mini", 5)
    with pytest.raises(BadInput, match="is the checkpoint of .*-s7, not of .*-s3"):
        bench.answer("finetune", bench.sample("test", 0))
    (folder / "run.json").unlink()
    with pytest.raises(BadInput, match="is not the checkpoint of a finished run"):
        bench.answer("finetune", bench.sample("test", 0))
    assert bench.answer("retrain", bench.sample("test", 0)).probabilities
