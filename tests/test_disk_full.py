"""A full disk is one clear line and exit code 2; nothing half-written is left, and the same command finishes later."""

import errno
import sys

import pytest
from hub import WRITER
from made_up import checkpoint

from mubench_hf.cli import dispatch
from mubench_hf.commands._arguments import exit_with
from mubench_hf.data.build import build
from mubench_hf.hub import model_bundle
from mubench_hf.runs.store import load_result
from mubench_hf.tasks import get_task


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def only(calls, function, broken=full):
    """Return a function that works so many times and then finds no room."""
    left = iter(range(calls))
    return lambda *args, **kwargs: (broken if next(left, None) is None else function)(*args, **kwargs)


def line_of(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        exit_with(dispatch, argv)
    assert exit_.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mubench: ")]
    return line


def test_building(tmp_path, monkeypatch, capsys):
    argv = ["build", "imdb", "--mini", "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        module = sys.modules["mubench_hf.data.build"]  # Its name in the package is the function.
        patch.setattr(module, "write_parquet", only(4, module.write_parquet))
        assert "The disk is full: [Errno 28] No space left on device." in line_of(argv, capsys)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "all or nothing"
    dispatch(argv)
    assert (tmp_path / "mubench" / "imdb-mini" / "mubench.json").is_file()


@pytest.mark.parametrize("words", ["No space left on device (os error 28)", None])
def test_training(own_bench, monkeypatch, capsys, words):
    """Weights are written by `safetensors`, whose error says in words what it is."""
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    def in_words(*args, **kwargs):
        raise SafetensorError(f"Error while serializing: I/O error: {words}")

    argv = ["unlearn", "--task", "cifar100", "--mini", "--method", "finetune", "--out", str(own_bench),
            "--max_steps", "2", "--save_strategy", "no", "--disable_tqdm", "true"]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(PreTrainedModel, "save_pretrained", in_words if words else full)
        assert "The disk is full: " in line_of(argv, capsys)
    dispatch(argv)
    (result,) = (own_bench / "results").glob("cifar100-mini-vit-tiny-finetune-df5pct-s42-x*.json")
    assert load_result(result).settings["max_steps"] == 2


@pytest.mark.parametrize(
    "broken",
    [
        "torch.save",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("safetensors.torch.save_file", "numpy.savez")),
    ],
)
def test_a_state_of_the_run(own_bench, monkeypatch, capsys, broken):
    """`torch.save` and NumPy say only that less was written than they gave; the same command then finishes."""
    from safetensors import SafetensorError

    words = {
        "torch.save": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),
        "safetensors.torch.save_file": SafetensorError("Error while serializing: I/O error: Disk quota exceeded"),
        "numpy.savez": OSError("200000 requested and 1234 written"),
    }

    def cut_short(*args, **kwargs):
        raise words[broken]

    argv = ["unlearn", "--task", "cifar100", "--mini", "--method", "neggrad", "--out", str(own_bench),
            "--num_train_epochs", "1", "--save_strategy", "epoch", "--disable_tqdm", "true"]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("transformers.modeling_utils.safe_save_file" if "safe" in broken else broken, cut_short)
        assert "The disk is full: " in line_of(argv, capsys)
    dispatch(argv)
    (result,) = (own_bench / "results").glob("cifar100-mini-vit-tiny-neggrad-df5pct-s42-x*.json")
    assert load_result(result).status == "ok"


def test_another_error_is_no_full_disk(monkeypatch):
    def denied(argv):
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        exit_with(denied, [])


def test_fetching_a_checkpoint(hub_here, tmp_path, monkeypatch, capsys):
    bundle = model_bundle(checkpoint(tmp_path / "out")[0])
    files = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
    hub_here.add("model", bundle.repo_id, files)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    line = line_of(["evaluate", bundle.repo_id, "--out", str(tmp_path)], capsys)
    assert f"{bundle.repo_id} cannot be kept: [Errno 28] No space left on device. Make room" in line


def test_fetching_a_data_set(hub_here, tmp_path, monkeypatch, capsys):
    hub_here.add("dataset", "mubench/imdb-mini", {"mubench.json": b"{}"})
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    argv = ["train", "--task", "imdb", "--mini", "--out", str(tmp_path / "nothing")]
    assert "The disk is full: [Errno 28] No space left on device" in line_of(argv, capsys)


def test_publishing_says_what_is_done_and_what_remains(hub_here, tmp_path, monkeypatch, capsys):
    build(get_task("imdb"), variant="mini", out=tmp_path, progress=False)
    build(get_task("celeb_profile"), variant="mini", out=tmp_path, progress=False)
    # A manifest of another build is there already, which is looked at in a file of its own.
    hub_here.add("dataset", "mubench/imdb-mini", {"mubench.json": b'{"task": "imdb", "source": "mini"}'})
    monkeypatch.setattr("huggingface_hub.get_token", lambda: WRITER)
    argv = ["publish", "dataset", "all", "--mini", "--out", str(tmp_path), "--push"]
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", full)
        line = line_of(argv, capsys)
    assert "No space left on device" in line and "Done: datasets/mubench/celeb_profile-mini." in line
    assert "Remaining: datasets/mubench/imdb-mini." in line and "The same command goes on from there." in line
    dispatch(argv)
    assert "data/test.parquet" in hub_here.files("dataset", "mubench/imdb-mini")
