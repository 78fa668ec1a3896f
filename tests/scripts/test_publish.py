"""``mubench publish``: without ``--push`` it shows everything and sends nothing."""

import re
import subprocess
import sys

import pytest
from made_up import checkpoint

from mubench_hf.cli import dispatch
from mubench_hf.data.build import build
from mubench_hf.errors import BadInput
from mubench_hf.metrics import list_metrics
from mubench_hf.tasks import get_task


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a dry run asks the network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setenv("COLUMNS", "150")


def test_a_dry_run_shows_files_sizes_and_card(tmp_path, capsys):
    folder, record, _ = checkpoint(tmp_path)
    (folder / "optimizer.pt").write_bytes(b"x")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    dispatch(["publish", "model", str(folder), "--org", "lab"])
    printed = capsys.readouterr().out
    size = (folder / "model.safetensors").stat().st_size
    assert f"lab/{record.run.checkpoint_name} (8 files, " in printed and f"model.safetensors {size} bytes" in printed
    assert "Not sent: optimizer.pt" in printed and "Mini data: a small stand-in" in printed
    assert "base_model: lab/cifar100-mini-vit-tiny" in printed and "Gap to retrain" in printed
    assert printed.endswith("Nothing was sent. Add --push to publish.\n")
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before, "a dry run writes nothing"


def test_all_built_mini_data_sets_in_one_command(tmp_path, capsys):
    build(get_task("imdb"), variant="mini", out=tmp_path, progress=False)
    build(get_task("ddi2013"), variant="mini", out=tmp_path / "ddi2013", progress=False)
    dispatch(["publish", "dataset", "all", "--mini", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    shown = re.findall(r"^datasets/(\S+) \(", printed, re.MULTILINE)
    assert shown == ["mubench/ddi2013-mini", "mubench/imdb-mini"]
    assert f"Left out, not built under {tmp_path}: cifar100-mini" in printed and "load_dataset(" in printed


def test_all_metrics(capsys):
    dispatch(["publish", "metric", "all"])
    shown = re.findall(r"^spaces/mubench/(\S+) \([5-7] files", capsys.readouterr().out, re.MULTILINE)
    assert shown == list_metrics()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["modle", "x"], "Did you mean 'model'"),
        (["model", "nowhere"], "nowhere has no run.json"),
        (["model", "nowhere", "--del_ratio", "11"], "11"),
        (["metric", "zfr"], "Did you mean 'zrf'"),
        (["dataset", "imbd", "--mini"], "Did you mean 'imdb'"),
        (["dataset", "all", "--mini", "--out", "nowhere"], "No mini data set is built under nowhere"),
        (["dataset", "imdb", "--mini", "--out", "nowhere"], "Run: mubench build imdb --mini --out nowhere"),
        (["metric", "zrf", "--push"], "no token of the Hub.*Remaining: spaces/mubench/zrf"),
        (["metric"], "required"),
    ],
)
def test_mistakes_are_named(argv, message):
    with pytest.raises(BadInput, match=message):
        dispatch(["publish", *argv])


def test_refusals_are_one_line_and_exit_2(hub, hub_env):
    hub.members["mubench"].clear()
    command = [sys.executable, "-m", "mubench_hf.cli", "publish", "metric", "zrf", "accuracy", "--push"]
    done = subprocess.run(command, env=hub_env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and not hub.repos
    assert "writer is no member" in done.stderr and "Remaining: spaces/mubench/zrf, spaces/mubench/acc" in done.stderr
