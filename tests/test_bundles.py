"""Only files of the allow-list are ever published, and only of runs that are what they say."""

import io
import json
import pickle
import random
import re

import pytest
from made_up import checkpoint, weights
from PIL import Image

from mubench_hf.data.build import build
from mubench_hf.errors import BadInput
from mubench_hf.hub import dataset_bundle, metric_bundle, model_bundle
from mubench_hf.metrics import list_metrics
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model, load_processor
from mubench_hf.tasks import get_task

SENT = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "run.json", "run_result.json",
        "run_outputs.npz", ".eval_results/mubench.yaml"}  # fmt: skip
PLANTED = [
    ".env", ".netrc", "token", "hf_token.txt", "id_rsa", "secrets.json", "credentials.json", "notes.md", "script.py",
    "pytorch_model.bin", "training_args.bin", "optimizer.pt", "optimizer.safetensors", "optimizer.bin", "scheduler.pt",
    "rng_state.pth", "scaler.pt", "model.pkl", "model.pt", "model.safetensors.tmp", "trainer_state.json",
    "events.out.tfevents.1", ".config.json.abc.tmp", "checkpoint-5/model.safetensors", "checkpoint-5/optimizer.pt",
    "unet/config.json", "plots/data.csv", "plots/deep/a.png", ".git/config", "teachers/model.safetensors",
]  # fmt: skip


def plant(folder, paths, content=b"secret"):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def picture():
    stream = io.BytesIO()
    Image.new("RGB", (9, 9), (30, 60, 90)).save(stream, "PNG")
    return stream.getvalue()


def test_a_damaged_picture_is_not_sent(tmp_path):
    folder, _, _ = checkpoint(tmp_path)
    whole = picture()
    for place in random.sample(range(len(whole) - 12), 5):  # But for the end mark, after which nothing is read.
        content = bytearray(whole)
        content[place] ^= 1 << random.randrange(8)
        plant(tmp_path, ["plots/mia_roc.png"], bytes(content))
        with pytest.raises(BadInput, match="mia_roc.png is no whole picture"):
            model_bundle(folder)
    plant(tmp_path, ["plots/mia_roc.png"], whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="mia_roc.png is no whole picture"):
        model_bundle(folder)


@pytest.mark.parametrize("method", ["scrub", "original"])
def test_nothing_else_is_sent(tmp_path, method):
    folder, _, _ = checkpoint(tmp_path, method)
    plant(folder, PLANTED)
    plant(folder, ["recipe.json"], b"{}")
    plant(folder, ["plots/mine.png"], b"\x89PNG\r\n\x1a\n")
    bundle = model_bundle(folder)
    assert set(bundle.files) == SENT | {"plots/mine.png", "recipe.json"}
    assert set(bundle.left_out) == set(PLANTED)
    assert not any(
        b"secret" in (file if isinstance(file, bytes) else file.read_bytes()) for file in bundle.files.values()
    )


def test_links_are_never_followed(tmp_path):
    folder, _, _ = checkpoint(tmp_path / "out")
    outside = tmp_path / "outside"
    plant(outside, ["vocab.txt", "a.png"])
    (folder / "vocab.txt").symlink_to(outside / "vocab.txt")
    (folder / "merges.txt").symlink_to(folder / "config.json")
    (folder / "plots").symlink_to(outside)
    bundle = model_bundle(folder)
    assert set(bundle.files) == SENT
    assert set(bundle.left_out) == {"vocab.txt (a link)", "merges.txt (a link)", "plots (a link)"}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(outside / "vocab.txt")
    with pytest.raises(BadInput, match="no config.json with weights as safetensors"):
        model_bundle(folder)


@pytest.mark.parametrize("content", [pickle.dumps({"weight": 1}), b"", (9).to_bytes(8, "little") + b"[1, 2, 3]"])
def test_a_pickle_by_another_name_is_refused(tmp_path, content):
    folder, _, _ = checkpoint(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match="not in the safetensors format"):
        model_bundle(folder)


@pytest.mark.parametrize("path", ["config.json", "tokenizer_config.json"])
def test_a_token_inside_an_allowed_file_is_refused(tmp_path, path):
    folder, _, _ = checkpoint(tmp_path)
    (folder / path).write_text(json.dumps({"token": "hf_" + "aB3" * 12}))
    with pytest.raises(BadInput, match=f"{path} of mubench/.* holds what looks like a token"):
        model_bundle(folder)


def test_a_pipeline_is_sent_with_its_parts(tmp_path):
    folder, _, _ = checkpoint(tmp_path)
    parts = ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "model_index.json"]
    plant(folder, parts, b"{}")
    plant(folder, ["unet/diffusion_pytorch_model.safetensors"], weights())
    plant(folder, ["unet/optimizer.pt", "unet/deep/config.json", "other/config.json"])
    bundle = model_bundle(folder)
    assert set(bundle.files) == SENT | {*parts, "unet/diffusion_pytorch_model.safetensors"}
    assert set(bundle.left_out) == {"unet/optimizer.pt", "unet/deep/config.json", "other/config.json"}


def test_the_result_is_that_of_the_checkpoint(tmp_path):
    folder, record, result = checkpoint(tmp_path)
    assert json.loads(model_bundle(folder).files["run_result.json"])["scores"] == result.scores
    _, _, other = checkpoint(tmp_path / "other", config={"learning_rate": 1.0})
    (tmp_path / "results" / f"{result.name}.json").write_text(other.to_json())
    with pytest.raises(BadInput, match="result of another run: its config"):
        model_bundle(folder)
    next((tmp_path / "results").glob("*.json")).unlink()
    with pytest.raises(BadInput, match=f"run: mubench evaluate .*{record.run.checkpoint_name} --out"):
        model_bundle(folder)


def test_an_original_is_published_at_one_ratio(tmp_path):
    folder, _, _ = checkpoint(tmp_path, "original")
    bundle = model_bundle(folder, ratio=5)
    assert (
        bundle.repo_id == "mubench/cifar100-mini-vit-tiny-original-s42"
        and "df_5pct" in bundle.files["README.md"].decode()
    )
    with pytest.raises(BadInput, match="--del_ratio 3$"):
        model_bundle(folder, ratio=3)


def test_unfinished_and_failed_runs_are_refused(tmp_path):
    folder, _, _ = checkpoint(tmp_path / "a", status="failed", status_reason="out of memory")
    with pytest.raises(BadInput, match="the run failed .out of memory"):
        model_bundle(folder)
    (folder / "run.json").unlink()
    with pytest.raises(BadInput, match="no run.json of a finished run"):
        model_bundle(folder)
    folder, _, _ = checkpoint(tmp_path / "b", status="diverged", status_reason="useless")
    assert "diverged" in model_bundle(folder).files["README.md"].decode()


def test_plots_of_other_results_are_left_out(tmp_path):
    folder, _, _ = checkpoint(tmp_path)
    plant(tmp_path, ["plots/mia_roc.png", "plots/notes.txt"], picture())
    bundle = model_bundle(folder)
    assert set(bundle.files) == SENT | {"plots/mia_roc.png"} and b"plots/mia_roc.png" in bundle.files["README.md"]
    checkpoint(tmp_path, task="imdb")
    bundle = model_bundle(folder)
    assert set(bundle.files) == SENT and b"plots/" not in bundle.files["README.md"]


def test_a_data_set_is_what_was_built(tmp_path):
    task = get_task("imdb")
    folder = build(task, variant="mini", out=tmp_path, progress=False)
    plant(folder, ["data/extra.parquet", ".env", "eval.pkl"])
    bundle = dataset_bundle(task, variant="mini", out=tmp_path, org="lab")
    manifest = json.loads((folder / "mubench.json").read_text())
    assert set(bundle.files) == {"README.md", "eval.yaml", "mubench.json", *manifest["files"]}
    assert set(bundle.left_out) == {"data/extra.parquet", ".env", "eval.pkl"}
    assert 'load_dataset("lab/imdb-mini"' in bundle.files["README.md"].decode() and bundle.repo_id == "lab/imdb-mini"
    whole = (folder / "data" / "test.parquet").read_bytes()
    (folder / "data" / "test.parquet").write_bytes(whole[:-1] + b"x")
    with pytest.raises(BadInput, match="data/test.parquet changed"):
        dataset_bundle(task, variant="mini", out=tmp_path)
    (tmp_path / "elsewhere.parquet").write_bytes(whole)
    (folder / "data" / "test.parquet").unlink()
    (folder / "data" / "test.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(BadInput, match="no plain file"):
        dataset_bundle(task, variant="mini", out=tmp_path)
    with pytest.raises(BadInput, match="Run: mubench build cifar100 --mini"):
        dataset_bundle(get_task("cifar100"), variant="mini", out=tmp_path)


@pytest.mark.parametrize("name", list_metrics())
def test_metrics_are_whole_spaces(name):
    bundle = metric_bundle(name)
    beside = {path for path in bundle.files if path.endswith(".py")} - {f"{name}.py", "app.py"}
    assert set(bundle.files) == {f"{name}.py", *beside, "README.md", "app.py", "requirements.txt"}
    code = "".join(bundle.files[path].read_text() for path in (f"{name}.py", *beside))
    assert beside == {f"{module}.py" for module in re.findall(r"^from \.(\w+) import", code, re.MULTILINE)}
    assert "checks.py" in beside
    assert all(bundle.size(path) > 0 for path in bundle.files)


@pytest.mark.parametrize("name", [name for name in list_models() if get_model(name).hub_id is None])
def test_whatever_a_model_and_its_processor_save_is_sent_and_loads_as_the_card_says(tmp_path, name):
    folder, _, _ = checkpoint(tmp_path, model=name)
    for file in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (folder / file).unlink()
    spec = get_model(name)
    labels = ["a", "b"] if spec.architecture.kind == "classification" else []
    fresh_model(spec, labels, 0).save_pretrained(folder)
    load_processor(spec, ["some words to read, some to write"] * 20).save_pretrained(folder)
    bundle = model_bundle(folder)
    assert not bundle.left_out and "run.json" in bundle.files
    assert len(bundle.files) == len([file for file in folder.rglob("*") if file.is_file()]) + 4
    usage = re.search("```python\n(.*?)```", bundle.files["README.md"].decode(), re.DOTALL)[1]
    loaded = {}
    exec(usage.replace(bundle.repo_id, str(folder)), loaded)
    (model,) = (loaded[key] for key in ("model", "unet") if key in loaded)
    assert sum(weight.numel() for weight in model.parameters()) > 10_000
