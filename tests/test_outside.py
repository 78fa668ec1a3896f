"""A method and a metric from outside the package: files in somebody's folder, through every command and Python."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from processes import run_python

from mubench_hf import BadInput, get_method, get_metric, load_results, run
from mubench_hf.cli import dispatch
from mubench_hf.leaderboard import read_folder
from mubench_hf.leaderboard.verify import verify_submission
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.runs.store import save_result

METHOD = '''from dataclasses import dataclass

from mubench_hf import Pass, UnlearningConfig, UnlearningTrainer, over_batch


@dataclass
class PullConfig(UnlearningConfig):
    strength: float = 0.05


class PullTrainer(UnlearningTrainer):
    """Learn D_r, and push D_f away by a little."""

    config_class = PullConfig
    title, measurement, corruption, retention = "Pull", "loss", "negated", "labels"
    source = "nobody"

    def passes(self, epoch):
        return (Pass("union"),)

    @over_batch
    def compute_loss(self, batch):
        losses = batch.losses()
        return batch.retain_mean(losses) - self.args.strength * batch.forget_mean(losses)
'''

METRIC = '''"""Sum of the scores on D_f and on the test set."""

DIRECTION = "match_retrained"
RANGE = (0.0, 2.0)
SOURCE = "nobody"
HEADER = "Both"


def both_scores(forget_score, test_score):
    return {"both_scores": forget_score + test_score}
'''


@pytest.fixture
def folder(tmp_path, quick, brought_is_forgotten, monkeypatch) -> Path:
    """A folder of somebody's own, with a method and a metric in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pull.py").write_text(METHOD)
    (tmp_path / "both_scores.py").write_text(METRIC)
    return tmp_path


def by_method(out) -> dict:
    return {result.method: result for result in load_results(out) if result.seed == 42}


@pytest.mark.slow
def test_a_method_and_a_metric_from_files(finished, folder, offline_env, capsys):
    shutil.copytree(finished, "o")
    command = ["run", "cifar100", "--mini", "--methods", "finetune", "pull.py", "--seeds", "42", "--out", "o"]
    dispatch([*command, "--metrics", "both_scores.py"])
    assert "pull (external)" in capsys.readouterr().out
    results = by_method("o")
    pull, digest = results["pull"], hashlib.sha256(METHOD.encode()).hexdigest()
    assert pull.external == {"method": {"name": "pull.py:PullTrainer", "sha256": digest}} and pull.run.tag
    assert results["finetune"].external == {} and not results["finetune"].run.tag
    for result in results.values():
        expected = result.scores["forget_accuracy"] + result.scores["test_accuracy"]
        assert result.scores["both_scores"] == pytest.approx(expected)
        assert result.metrics["both_scores"]["sha256"] == hashlib.sha256(METRIC.encode()).hexdigest()
    # Another process knows neither the method nor the metric, and shows both all the same.
    main = "from mubench_hf.cli import main; main()"
    done = run_python(main, "table", "o", "--markdown", env=offline_env, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "| pull (external) |" in done.stdout and "both_scores" in done.stdout
    assert "nothing says what is best" in done.stdout

    before = {file: file.read_bytes() for file in Path("o", "results").iterdir()}
    Path("pull.py").write_text(METHOD.replace("0.05", "0.1"))
    dispatch([*command[:4], *command[5:]])
    assert all(file.read_bytes() == content for file, content in before.items())
    names = [result.name for result in load_results("o") if result.method == "pull"]
    assert len(names) == 2, "an edited method makes other runs"


@pytest.mark.slow
def test_unlearn_and_python_take_a_file_or_a_class(folder):
    dispatch(["build", "cifar100", "--mini"])
    dispatch(["train", "--task", "cifar100", "--mini", "--disable_tqdm", "true"])
    dispatch(["unlearn", "--task", "cifar100", "--mini", "--method", "pull.py:PullTrainer", "--strength", "0.2",
              "--disable_tqdm", "true"])  # fmt: skip
    (result,) = load_results(".")
    assert result.settings == {"strength": 0.2} and result.method == "pull"
    pull = get_method("pull.py")
    results = run("cifar100", variant="mini", out=".", methods=[pull], seeds=[42])
    assert {result.method for result in results} == {"original", "retrain", "pull"}
    assert {len(result.scores) for result in results} == {len(results[0].scores)}
    pull.kinds = ("causal_lm",)
    with pytest.raises(BadInput, match="pull is for causal_lm, but cifar100 is of the kind classification"):
        run("cifar100", variant="mini", out="nowhere", methods=["scrub", pull])
    assert not Path("nowhere").exists()


def test_a_metric_that_came_later_is_computed_from_kept_outputs(finished, folder, monkeypatch):
    out = Path(shutil.copytree(finished, folder / "yesterday"))
    stated = {result.name: result.scores for result in load_results(out)}

    def refuse(*_, **__):
        raise AssertionError("work done twice")

    monkeypatch.setattr("mubench_hf.runs.pipeline.evaluate_checkpoint", refuse)
    monkeypatch.setattr("transformers.Trainer.train", refuse)
    metric = get_metric("both_scores.py")
    results = Pipeline("cifar100", variant="mini", out=out, methods=["finetune"]).run()
    for result in results:
        assert {name: value for name, value in result.scores.items() if name != metric.key} == stated[result.name]
        assert result.scores[metric.key] is not None
    assert load_results(out) == results, "and it is kept"
    assert "| Both →" in markdown_table(aggregate(results)[0])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere.py", "There is no file nowhere.py"),
        ("both_scores.py", "declares 0 methods .none."),
        ("broken.py", "broken.py cannot be imported: NameError"),
        ("two.py", "declares 2 methods .OneTrainer, TwoTrainer.. Say which one: two.py:Name"),
        ("taken.py", "has the key 'scrub'.* of its own"),
        ("plain.py", "compute_loss takes self, batch. Decorate one over a batch with @over_batch"),
        ("graddiff", "Unknown method 'graddiff'. Did you mean 'neggrad'"),
    ],
)
def test_what_is_no_method_is_refused_with_what_to_do(folder, reference, message):
    (folder / "plain.py").write_text(METHOD.replace("    @over_batch\n", ""))
    (folder / "broken.py").write_text("nothing.at_all()")
    second = METHOD[METHOD.index("class PullTrainer") :]
    (folder / "two.py").write_text(METHOD.replace("PullTrainer", "OneTrainer") + second.replace("Pull", "Two", 1))
    (folder / "taken.py").write_text(METHOD.replace("    config_class", '    key = "scrub"\n    config_class'))
    with pytest.raises(BadInput, match=message):
        get_method(reference)


@pytest.mark.slow
def test_yesterdays_results_are_still_accepted_after_a_metric_came(finished, folder):
    out = Path(shutil.copytree(finished, folder / "yesterday"))
    get_metric("both_scores.py")
    verdict = verify_submission(read_folder(out))
    assert not verdict.problems
    assert len(verdict.verified) == len(load_results(out)) == 9
    forged = load_results(out)[-1]
    save_result(replace(forged, scores={**forged.scores, "zrf": forged.scores["zrf"] + 0.01}), out / "results")
    (problem,) = verify_submission(read_folder(out)).problems
    assert problem.run == forged.name and "zrf" in problem.text, "what is stated is still recomputed"
