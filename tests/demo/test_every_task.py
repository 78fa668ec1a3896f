"""Every task is shown: each split, each model, and own input, as the task's kind and its columns' media have it."""

import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy.special import log_softmax, softmax

from mubench_hf.demo import DemoRuns
from mubench_hf.demo.rows import LEGIBLE
from mubench_hf.runs.store import load_logits
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.tasks._clips import write_avi

QUICK = ("ddi2013",)
TASKS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in list_tasks()]


@pytest.fixture
def rng():
    return np.random.default_rng()


@pytest.fixture(scope="module", params=TASKS)
def shown(request, run_quickly, tmp_path_factory):
    """Key of a task, its finished run and its bench."""
    out = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        run_quickly(request.param, out, patch, seeds=(7,))
        yield request.param, out, DemoRuns.local(out).bench(f"{request.param}-mini", 5)


def measured(name, out, method):
    (file,) = (out / "results").glob(f"{name}-mini-*-{method}-df5pct-s7.npz")
    return load_logits(file.stem, file.parent)


def test_answers_are_what_was_measured(shown, rng):
    name, out, bench = shown
    for method in ("original", "retrain", "finetune"):
        outputs = measured(name, out, method)
        for split in ("forget", "retain", "test"):
            position = int(rng.integers(bench.count(split)))
            answer = bench.answer(method, bench.sample(split, position))
            logits, label = (outputs[f"{split}_{what}"][position] for what in ("logits", "labels"))
            assert answer.loss == pytest.approx(-log_softmax(logits.astype(float))[label], rel=1e-4, abs=1e-5)
            assert 0 <= answer.membership <= 1
            if f"{split}_predictions" in outputs:
                assert answer.text == outputs[f"{split}_predictions"][position]
                assert "".join(piece for piece, _ in answer.marked) == answer.text
                assert answer.truth == outputs[f"{split}_references"][position] and answer.probabilities is None
            elif answer.image is None:
                shares = list(answer.probabilities.values())
                np.testing.assert_allclose(shares, softmax(logits.astype(float)), atol=1e-5)
                assert answer.probabilities.keys() == set(bench.inputs[-1].choices)
            elif split == "forget":  # Of the others, only some were drawn.
                expected = softmax(outputs["forget_generated_logits"][position].astype(float))
                np.testing.assert_allclose(list(answer.probabilities.values()), expected, atol=1e-3)
                assert min(answer.image.size) >= LEGIBLE


def test_samples_are_shown_in_their_medium(shown, rng):
    _, _, bench = shown
    for split in ("forget", "retain", "test"):
        sample = bench.sample(split, int(rng.integers(bench.count(split))))
        assert [one.name for one in sample.shown] == list(bench.task.inputs)
        for one in sample.shown:
            check = {
                "image": lambda value: min(value.size) >= LEGIBLE and value.mode == "RGB",
                "text": lambda value: isinstance(value, str) and value,
                "audio": lambda value: value[0] == 16_000 and value[1].dtype == np.int16 and np.abs(value[1]).max() > 0,
                "video": lambda value: value.endswith(".mp4"),
            }
            assert check[one.medium](one.value)


def brought(field, folder, rng):
    """Return something for a field to bring."""
    if field.medium == "image":
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(folder / f"{field.name}.png")
        return folder / f"{field.name}.png"
    if field.medium == "audio":
        soundfile.write(folder / "own.wav", rng.normal(0, 0.1, 22_050), 44_100)
        return str(folder / "own.wav")
    if field.medium == "video":
        palette = [(level * 16,) * 3 for level in range(16)]
        frames = rng.integers(0, 16, (20, 24, 24), dtype=np.uint8)
        (folder / "own.avi").write_bytes(write_avi(frames, palette, 10))
        return str(folder / "own.avi")
    return field.example or str(rng.choice(field.choices))


def test_one_can_bring_ones_own(shown, rng, tmp_path):
    name, _, bench = shown
    task = get_task(name)
    assert {field.name for field in bench.inputs if not field.optional} <= set(task.inputs)
    values = {field.name: brought(field, tmp_path, rng) for field in bench.inputs}
    known = bench.own(values)
    answers = [bench.answer(method, known) for method in ("original", "retrain", "finetune")]
    assert all(answer.loss >= 0 and 0 <= answer.membership <= 1 for answer in answers)
    assert known.truth and bench.sentence(answers).endswith(".")
    bare = bench.own({field.name: values[field.name] for field in bench.inputs if not field.optional})
    answer = bench.answer("original", bare)
    assert answer.loss is answer.membership is None and "not given" in answer.membership_reason
    assert (answer.probabilities, answer.text) == (answers[0].probabilities, answers[0].text)
