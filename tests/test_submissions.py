"""A true submission is accepted; a forged one is refused, and what was forged is named."""

import dataclasses
import json
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from forger import SECONDS, rescore_all, submission
from unsealed import unsealed

from mubench_hf.leaderboard import Entry, read_folder
from mubench_hf.leaderboard.outputs import read_outputs, unlike_data
from mubench_hf.leaderboard.verify import verify_submission
from mubench_hf.runs.store import load_logits, load_result, save_logits, save_result
from mubench_hf.tasks import get_task

METHOD, ORIGINAL = "cifar100-mini-vit-tiny-finetune-df5pct-s", "cifar100-mini-vit-tiny-original-s"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Output folder of made-up runs over three seeds. Tests do not change it: they copy it."""
    return submission(tmp_path_factory.mktemp("made"))


@pytest.fixture
def own_run(made, tmp_path) -> Path:
    """A copy of the results that a test may change."""
    return Path(shutil.copytree(made / "results", tmp_path / "run" / "results")).parent


@pytest.fixture
def judge(made):
    """Returns the verdict on a folder; the data set is the one that is built already."""
    return lambda folder, known=(): verify_submission(read_folder(folder), known, data=made)


def change(file: Path, **fields):
    """Change fields of a result; a mapping's entries are changed one by one."""
    content = json.loads(unsealed(file.read_text()))
    for name, value in fields.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    file.write_text(json.dumps(content))


def change_outputs(file: Path, edit):
    """Change the arrays of a run's outputs."""
    arrays = load_logits(file.stem, file.parent)
    edit(arrays)
    save_logits(file.stem, file.parent, arrays)


def one(folder: Path, method: str = "finetune", ending: str = "json") -> Path:
    """Return the file of one run of a method, any of them."""
    return random.choice(sorted((folder / "results").glob(f"*-{method}-*.{ending}")))


def test_a_true_submission_is_accepted(own_run, judge):
    verdict = judge(own_run)
    assert not verdict.problems and len(verdict.verified) == 9
    assert len(verdict.notes) == 1 and "nothing can recompute" in verdict.notes[0], "times are as stated"
    rescore_all(own_run)
    assert not judge(own_run).problems, "the forger's tool of the tests below forges nothing by itself"


@pytest.mark.slow
def test_the_data_set_is_built_where_it_is_not_there(own_run):
    assert len(verify_submission(read_folder(own_run)).verified) == 9


@pytest.mark.parametrize("method", ["original", "retrain", "finetune"])
def test_a_score_changed_by_a_hundredth_is_named(own_run, judge, method):
    file = one(own_run, method)
    scores = {key: value for key, value in load_result(file).scores.items() if value and key not in SECONDS}
    key = random.choice(sorted(scores))
    forged = scores[key] - 0.01 if scores[key] > 0.01 else scores[key] + 0.01
    change(file, scores={key: forged})
    (first, *_) = judge(own_run).problems
    assert str(first) == f"{file.stem}: score {key}: stated {forged}, recomputed {scores[key]}."


def test_a_score_that_the_outputs_do_not_give_is_named(own_run, judge):
    file = one(own_run)
    change(file, scores={"knowledge_gap": None}, reasons={"knowledge_gap": "too low to tell"})
    (problem,) = judge(own_run).problems
    assert "score knowledge_gap: stated None, recomputed 0." in str(problem)


def test_a_metric_that_came_later_invalidates_nothing(own_run, judge):
    for file in own_run.glob("results/*.json"):
        content = json.loads(unsealed(file.read_text()))
        content["scores"].pop("zrf")
        file.write_text(json.dumps(content))
    verdict = judge(own_run)
    assert not verdict.problems and len(verdict.verified) == 9
    stated = [value for file in own_run.glob("results/*.json") for value in load_result(file).scores.values()]
    times = 3 * 6  # Originals have none; retrain and finetune have wall and processor seconds and the ratio.
    assert sum(verdict.compared.values()) == len([value for value in stated if value is not None]) - times


def test_a_stated_score_that_cannot_be_recomputed_is_named(own_run, judge):
    file = one(own_run)
    change(file, scores={"brilliance": 0.5})
    (problem,) = judge(own_run).problems
    assert str(problem) == f"{file.stem}: score brilliance: stated 0.5, recomputed None."


def from_outside(folder: Path, key: str, **external) -> list[str]:
    """Say of all runs of a method that parts of them are from outside, and return their names then."""
    names = []
    for file in sorted((folder / "results").glob(f"*-{key}-*.json")):
        run = load_result(file)
        run = dataclasses.replace(run, external=external, method="mine" if "method" in external else key)
        file.with_suffix(".npz").rename(file.parent / f"{run.name}.npz")
        file.unlink()
        (file.parent / f"{run.name}.json").write_text(run.to_json())
        names.append(run.name)
    return names


def test_a_method_from_outside_is_taken_and_what_could_not_be_recomputed_is_said(own_run, judge):
    names = from_outside(own_run, "finetune", method={"name": "mine.py:Mine", "sha256": "d" * 64})
    verdict = judge(own_run)
    assert not verdict.problems and len(names) == 3
    verified = {entry.result.name for entry in verdict.verified}
    for name in names:
        assert (name in verified) != any(note.startswith(f"{name} was not recomputed") for note in verdict.notes)
    assert len(verified - {*names}) == 6
    change(own_run / "results" / f"{names[0]}.json", external={"method": "mine.py"})
    assert "needed are its name and sha256" in str(judge(own_run).problems[0])


def test_scores_of_a_metric_from_outside_are_left_to_a_note(own_run, judge):
    file = one(own_run)
    change(file, scores={"brilliance": 0.5}, metrics={"brilliance": {"name": "mine.py", "sha256": "d" * 64}})
    verdict = judge(own_run)
    assert not verdict.problems
    every = {each.stem for each in (own_run / "results").glob("*.json")}
    assert every - {entry.result.name for entry in verdict.verified} == {file.stem}
    (note,) = [note for note in verdict.notes if note.startswith(file.stem)]
    assert note.endswith("is not marked verified: brilliance (its metric is not known here)")


@pytest.mark.slow
def test_times_are_taken_as_stated_but_agree_with_each_other(own_run, judge):
    file = one(own_run)
    scores = load_result(file).scores
    change(file, scores={"unlearn_seconds": scores["unlearn_seconds"] / 2})
    assert not judge(own_run).problems, "nothing says how busy a wall is"
    change(file, scores={"compute_seconds": scores["compute_seconds"] / 2})
    (problem,) = judge(own_run).problems
    assert "score retrain_time_ratio" in str(problem)
    change(file, scores={"retrain_time_ratio": scores["retrain_time_ratio"] / 2})
    assert not judge(own_run).problems


def test_two_seeds_are_too_few(own_run, judge):
    for file in own_run.glob(f"results/{METHOD}21.*"):
        file.unlink()
    (problem,) = judge(own_run).problems
    assert problem.run == "finetune on cifar100-mini-vit-tiny at 5%" and "2 seeds (42, 87); at least 3" in problem.text


def test_another_split_of_one_run_is_named(own_run, judge):
    file = one(own_run)
    change(file, deletion_sha256="0" * 64)
    assert any(
        problem.run == file.stem and "another deletion list" in problem.text for problem in judge(own_run).problems
    )


@pytest.mark.parametrize("field", ["deletion_sha256", "data_fingerprint"])
def test_another_split_of_all_runs_is_none_of_the_data_set(own_run, judge, field):
    for file in own_run.glob("results/*.json"):
        change(file, **{field: "0" * 64})
    (problem,) = judge(own_run).problems
    assert "compared with the data set" in problem.text and "as this version builds it" in problem.text


def test_full_data_have_a_published_split_and_are_marked_only_beside_the_data(own_run, judge):
    for file in own_run.glob("results/*.json"):
        content = (
            unsealed(file.read_text())
            .replace('"mini"', '"full"')
            .replace("-mini-vit-tiny", "-vit-base")
            .replace("vit-tiny", "vit-base")
        )
        name = file.name.replace("-mini-vit-tiny", "-vit-base")
        (file.parent / name).write_text(content)
        file.with_suffix(".npz").rename((file.parent / name).with_suffix(".npz"))
        file.unlink()
    problems = judge(own_run).problems
    assert len(problems) == 9 and all("published one's (5178622c4b92)" in problem.text for problem in problems)
    for file in own_run.glob("results/*.json"):
        change(file, deletion_sha256=get_task("cifar100").full.deletion_sha256)
    verdict = judge(own_run)
    assert not verdict.problems and not verdict.verified, "nobody has looked at the labels"
    assert "Labels of cifar100 were not compared" in verdict.notes[-1] and "--data" in verdict.notes[-1]


def test_another_original_is_named(own_run, judge):
    file = one(own_run)
    change(file, base_revision="1" * 64)
    assert any(
        problem.run == file.stem and f"another mubench/{ORIGINAL}" in problem.text
        for problem in judge(own_run).problems
    )


def test_another_original_that_settings_do_not_name(own_run, judge):
    file = one(own_run)
    change(file, base_model="mubench/cifar100-mini-vit-tiny-original-s7")
    problems = [problem for problem in judge(own_run).problems if problem.run == file.stem]
    own = load_result(file).seed
    assert [f"starts from {ORIGINAL}7, not from {ORIGINAL}{own}" in problem.text for problem in problems] == [True]


@pytest.mark.slow
def test_a_model_somebody_brought_needs_no_original_on_the_leaderboard(own_run, judge):
    """It is no run: scores that compare with it have no value, in what is stated as in what is recomputed."""
    for file in own_run.glob("results/*-original-*"):
        file.unlink()
    for file in sorted(own_run.glob("results/*.json")):
        run = load_result(file)
        run = dataclasses.replace(run, base_model="my-vit", base_revision="9" * 64, settings={"original": "my-vit"})
        file.with_suffix(".npz").rename(file.parent / f"{run.name}.npz")
        (file.parent / f"{run.name}.json").write_text(run.to_json())
        file.unlink()
    first, *_ = judge(own_run).problems
    assert "score unlearning_score" in first.text and first.text.endswith("recomputed None.")
    rescore_all(own_run)
    verdict = judge(own_run)
    assert not verdict.problems and len(verdict.verified) == 6


def test_outputs_of_another_model_with_other_scores(own_run, judge):
    """The outputs are another model's, made up for the same rows, and the scores are the run's own."""
    file = one(own_run, ending="npz")

    def another(arrays):
        for split in ("forget", "retain", "test"):
            arrays[f"{split}_logits"] = np.random.default_rng().normal(size=arrays[f"{split}_logits"].shape)

    change_outputs(file, another)
    problems = judge(own_run).problems
    assert problems[0].run == file.stem and "score " in problems[0].text and "recomputed" in problems[0].text


def test_outputs_of_another_run_with_that_runs_scores(own_run, judge):
    """Everything agrees with everything, but two runs say the same of every row."""
    file, other = one(own_run, ending="npz"), one(own_run, "retrain", ending="npz")
    file.write_bytes(other.read_bytes())
    rescore_all(own_run)
    (problem, *_) = judge(own_run).problems
    assert "its logits are that run's own" in problem.text and {problem.run} <= {file.stem, other.stem}


def test_outputs_of_a_model_with_other_classes(own_run, judge):
    file = one(own_run, ending="npz")
    change_outputs(file, lambda arrays: arrays.update(test_logits=np.pad(arrays["test_logits"], ((0, 0), (0, 2)))))
    assert any("test_logits has the shape (797, 12) and not (797, 10)" in str(each) for each in judge(own_run).problems)


def test_labels_that_are_not_the_data_sets(own_run, judge):
    """Rows of every run in another order: within the submission, all agree."""
    order = np.random.default_rng().permutation(797)

    def shuffle(arrays):
        arrays.update({key: arrays[key][order] for key in ("test_logits", "test_labels")})

    file = one(own_run, ending="npz")
    change_outputs(file, shuffle)
    assert any("its test_labels must be the same" in problem.text for problem in judge(own_run).problems)
    for other in own_run.glob("results/*.npz"):
        if other != file:
            change_outputs(other, shuffle)
    rescore_all(own_run)
    (problem,) = judge(own_run).problems
    assert "its test_labels are not those of the data set" in problem.text


def test_rows_left_out(own_run, judge):
    def fewer(arrays):
        arrays.update({key: arrays[key][:700] for key in ("test_logits", "test_labels")})

    for file in own_run.glob("results/*.npz"):
        change_outputs(file, fewer)
    rescore_all(own_run)
    assert "700 rows of test in place of 797" in str(judge(own_run).problems[0])


def test_an_incompetent_model_of_ones_own(own_run, judge):
    file = one(own_run, ending="npz")
    change_outputs(file, lambda arrays: arrays.update(incompetent_forget_logits=arrays["forget_logits"]))
    assert any("incompetent_forget_logits must be the same" in problem.text for problem in judge(own_run).problems)


def test_another_chance(own_run, judge):
    for file in own_run.glob("results/*.npz"):
        change_outputs(file, lambda arrays: arrays.update(chance=np.float64(0.9)))
    rescore_all(own_run)
    assert "its chance is 0.9, not that of 10 classes" in str(judge(own_run).problems[0])


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("*-retrain-*-s87.*", "no retrained model of seed 87"),
        ("*-original-*", "no original"),
        (f"{METHOD}42.npz", f"Put {METHOD}42.npz beside the result"),
    ],
)
def test_what_is_missing_is_named(own_run, judge, pattern, reason):
    for file in own_run.glob(f"results/{pattern}"):
        file.unlink()
    assert any(reason in str(problem) for problem in judge(own_run).problems)


def test_references_may_be_on_the_leaderboard_already(own_run, judge, tmp_path):
    board = tmp_path / "board"
    board.mkdir()
    for file in [*own_run.glob("results/*-original-*"), *own_run.glob("results/*-retrain-*")]:
        file.rename(board / file.name)
    known = [Entry(entry.result, entry.file, entry.digest, None) for entry in read_folder(board).entries]
    verdict = judge(own_run, known)
    assert not verdict.problems and len(verdict.verified) == 3
    assert judge(own_run).problems, "without them"
    there = read_folder(own_run).entries[0]
    (problem,) = judge(own_run, [*known, Entry(there.result, there.file, "0" * 64, None)]).problems
    assert problem.run == there.result.name and "they replace none" in problem.text


def test_a_failed_run_is_not_taken(own_run, judge):
    run = load_result(one(own_run))
    gone = dict.fromkeys(run.scores)
    fields = {**vars(run), "status": "failed", "status_reason": "out of memory", "scores": gone}
    save_result(type(run)(**{**fields, "reasons": dict.fromkeys(gone, "out of memory")}), own_run / "results")
    assert "it failed (out of memory)" in str(judge(own_run).problems[0])


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_a_file_that_is_no_result_is_a_problem(own_run, judge, value):
    file = one(own_run)
    change(file, scores={"unlearn_seconds": value})
    assert judge(own_run).problems[0].run == f"results/{file.name}"


def test_no_results_at_all(tmp_path, judge):
    assert "it holds no result" in str(judge(tmp_path).problems[0])


def test_outputs_are_bounded(own_run, judge, monkeypatch):
    for module in ("checks", "outputs"):
        monkeypatch.setattr(f"mubench_hf.leaderboard.{module}.LARGEST_OUTPUTS", 50_000)
    problems = judge(own_run).problems
    assert len(problems) == 9 and all("allowed: 50000" in str(problem) for problem in problems)


def packed(file: Path):
    """An archive that unpacks to a thousand times its size."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test_logits.npy", bytes(2**20))


def lying(file: Path):
    """A header that announces more numbers than any machine has room for."""
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,), }".ljust(
        117
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("chance.npy", header + b"\n")


def pickled(file: Path):
    """An array of objects, which numpy would have to unpickle."""
    with zipfile.ZipFile(file, "w") as archive, archive.open("chance.npy", "w") as stream:
        np.save(stream, np.asarray([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(packed, "unpacks to"), (lying, "Cannot read the logits"), (pickled, "allow_pickle"),
     (lambda file: file.write_bytes(b"PK"), "Cannot read the logits")],
)  # fmt: skip
def test_hostile_outputs_are_refused(own_run, judge, monkeypatch, make, reason):
    monkeypatch.setattr("mubench_hf.leaderboard.outputs.LARGEST_OUTPUTS", 2**20 - 1)
    file = one(own_run, ending="npz")
    make(file)
    (problem,) = judge(own_run).problems
    assert problem.run == file.stem and reason in problem.text


@pytest.mark.parametrize("task", ["samsum", "tiny_imagenet"])
def test_texts_and_rows_are_compared_with_the_data_set(task, tmp_path):
    """Of tasks whose labels are texts or whose rows are images to make, with made-up outputs."""
    from made_up import table

    from mubench_hf.data.build import build
    from mubench_hf.data.loading import load_split

    spec, (run, *_) = get_task(task), table(tmp_path / "made", task=task)
    build(spec, variant="mini", out=tmp_path, progress=False)
    splits = load_split(spec, variant="mini", ratio=5, out=tmp_path)
    names = getattr(splits["test"].features[spec.label], "names", None)
    outputs = {"chance": np.float64(1 / len(names) if names else 0)}
    for split in ("forget", "retain", "test"):
        order = np.argsort(splits[split]["index"])
        outputs[f"{split}_labels"] = np.zeros(len(order), np.int64)
        if not names:
            outputs[f"{split}_references"] = np.asarray(splits[split][spec.label])[order]
    assert unlike_data(run, outputs, tmp_path) is None
    if not names:
        swapped = {**outputs, "forget_references": outputs["forget_references"][::-1]}
        assert "forget_references are not those of the data set" in unlike_data(run, swapped, tmp_path)
    fewer = {**outputs, "retain_labels": outputs["retain_labels"][1:]}
    assert "rows of retain in place of" in unlike_data(run, fewer, tmp_path)


def test_outputs_are_read_as_they_were_written(made):
    file = one(made, ending="npz")
    arrays = read_outputs(file)
    assert all(np.array_equal(value, arrays[key]) for key, value in load_logits(file.stem, file.parent).items())
