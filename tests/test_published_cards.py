"""Every card, as it lies on the Hub: it validates there, says again what was written, and links to what is there."""

import re
from pathlib import Path

import pytest
import yaml
from hub import WRITER
from huggingface_hub import DatasetCard, ModelCard, RepoCard
from made_up import checkpoint
from PIL import Image

from mubench_hf.cli import dispatch
from mubench_hf.hub import list_spaces, metric_bundle, model_bundle, space_bundle
from mubench_hf.metrics import list_metrics
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.utils.shipped import shipped_folder

SPACES = list_spaces() if Path(shipped_folder("model_cards").parent, "spaces").is_dir() else []


def links(text):
    """Return the targets of relative links and images."""
    found = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return {target.split("#")[0] for target in found if "://" not in target and not target.startswith(("#", "mailto:"))}


def check(hub, kind, name, card):
    """Check the card of a repository on the Hub against what is in it."""
    card.validate(repo_type=kind)
    files = hub.files(kind, name)
    text = files["README.md"].decode()
    written = yaml.safe_load(text.split("---\n")[1])
    assert type(card)(str(card)).data.to_dict() == card.data.to_dict() and written
    assert card.data.to_dict().keys() >= written.keys() - {"model-index"}
    assert links(card.text) <= files.keys(), f"{name} links to what is not there"


def put(hub, bundle):
    files = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
    hub.add(bundle.kind, bundle.repo_id, files)


@pytest.mark.slow
def test_all_nine_mini_data_sets_are_pushed_by_one_command(hub_here, tmp_path, monkeypatch, capsys):
    dispatch(["build", "all", "--mini", "--out", str(tmp_path)])
    monkeypatch.setattr("huggingface_hub.get_token", lambda: WRITER)
    argv = ["publish", "dataset", "all", "--mini", "--out", str(tmp_path), "--push"]
    dispatch(argv)
    names = [get_task(name).dataset_name(variant="mini") for name in list_tasks()]
    assert len(names) == 9 and set(hub_here.repos) == {("dataset", f"mubench/{name}") for name in names}
    for name in names:
        folder, repo = tmp_path / "mubench" / name, f"mubench/{name}"
        built = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert hub_here.files("dataset", repo) == built and "eval.yaml" in built
        card = DatasetCard.load(repo)
        assert card.data.to_dict() == yaml.safe_load(built["README.md"].decode().split("---\n")[1])
        check(hub_here, "dataset", repo, card)
    assert capsys.readouterr().out.count(": created, revision ") == 9
    dispatch(argv)
    assert capsys.readouterr().out.count(": unchanged, revision ") == 9


@pytest.mark.parametrize("method", ["original", "retrain", "scrub"])
@pytest.mark.parametrize("task", list_tasks())
def test_checkpoints(hub_here, tmp_path, task, method):
    folder, _, result = checkpoint(tmp_path, method, task=task)
    (folder / "recipe.json").write_text("{}")
    (tmp_path / "plots").mkdir()
    for name in ("mia_roc", "time"):
        Image.new("L", (1, 1)).save(tmp_path / "plots" / f"{name}.png")
    bundle = model_bundle(folder)
    put(hub_here, bundle)
    card = ModelCard.load(bundle.repo_id)
    check(hub_here, "model", bundle.repo_id, card)
    assert {"plots/mia_roc.png", "plots/time.png", "run.json", "run_result.json"} <= links(card.text)
    stated = {(entry.metric_type, entry.dataset_split): entry.metric_value for entry in card.data.eval_results}
    assert stated["zrf", None] == result.scores["zrf"]


@pytest.mark.parametrize("name", list_metrics())
def test_metrics(hub_here, name):
    put(hub_here, metric_bundle(name))
    check(hub_here, "space", f"mubench/{name}", RepoCard.load(f"mubench/{name}", repo_type="space"))


@pytest.mark.parametrize("name", SPACES)
def test_spaces(hub_here, name):
    put(hub_here, space_bundle(name))
    check(hub_here, "space", f"mubench/{name}", RepoCard.load(f"mubench/{name}", repo_type="space"))
