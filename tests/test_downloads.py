"""Checkpoints by name: a folder as it is, or a repository of which only allowed files are fetched, at one commit."""

import errno

import pytest
from hub import Faults
from made_up import checkpoint

from mubench_hf.errors import BadInput
from mubench_hf.hub import model_bundle
from mubench_hf.hub.download import checkpoint_folder, published_result
from mubench_hf.hub.retries import NETWORK_ATTEMPTS

PLANTED = ["pytorch_model.bin", "training_args.bin", "modeling_x.py", "optimizer.pt", "unet/code.py", "data.pkl"]


@pytest.fixture(autouse=True)
def loopback(hub_here):
    """Every test asks the loopback."""


@pytest.fixture
def published(hub, tmp_path):
    """Name, bundle and revision of a published checkpoint, with files beside it that are none of ours."""
    bundle = model_bundle(checkpoint(tmp_path / "out")[0])
    files = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
    return bundle.repo_id, files, hub.add("model", bundle.repo_id, {**files, **dict.fromkeys(PLANTED, b"code")})


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_stays_what_it_is(tmp_path, hub):
    assert checkpoint_folder(tmp_path) == checkpoint_folder(str(tmp_path)) == tmp_path
    with pytest.raises(BadInput, match="is a folder, which has no revision 'main'"):
        checkpoint_folder(tmp_path, "main")
    assert not hub.requests


def test_only_what_publishing_sends_is_fetched(hub, published):
    name, files, revision = published
    folder = checkpoint_folder(name)
    assert folder.name == revision and names_in(folder) == set(files)
    assert all((folder / path).read_bytes() == content for path, content in files.items())
    assert not any(path.endswith(planted) for _, path in hub.requests for planted in PLANTED)


def test_a_revision_is_pinned(hub, published):
    name, files, revision = published
    later = hub.add("model", name, {"config.json": b'{"later": true}'})
    hub.repos["model", name].tags["v1"] = revision
    for pinned in (
        checkpoint_folder(name, revision),
        checkpoint_folder(f"{name}@{revision}"),
        checkpoint_folder(f"{name}@v1"),
    ):
        assert pinned.name == revision and (pinned / "config.json").read_bytes() == files["config.json"]
    assert checkpoint_folder(name).name == later
    with pytest.raises(BadInput, match="names one revision, and 'main' is another"):
        checkpoint_folder(f"{name}@v1", "main")


def test_what_is_in_the_cache_needs_no_network(hub, published, monkeypatch):
    name, _, revision = published
    folder = checkpoint_folder(name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert checkpoint_folder(name) == checkpoint_folder(name, revision) == folder
    with pytest.raises(BadInput, match="There is no folder mubench/other, and HF_HUB_OFFLINE is set"):
        checkpoint_folder("mubench/other")


@pytest.mark.parametrize(
    "name", ["nothing", "a/b/c", "mubench/", "/gone/away", "mubench/a b", "mubench/a--b@", "mubench/x.git"]
)
def test_a_name_that_is_none(hub, name):
    with pytest.raises(BadInput, match="neither a folder nor the name of a repository"):
        checkpoint_folder(name)
    assert not hub.requests


def test_what_is_not_there(hub, published):
    name, _, _ = published
    with pytest.raises(BadInput, match="no model mubench/gone on the Hub"):
        checkpoint_folder("mubench/gone")
    with pytest.raises(BadInput, match=f"{name} has no revision 'v9'"):
        checkpoint_folder(name, "v9")
    hub.add("model", "mubench/other", {"config.json": b"{}", "model.safetensors": b"x"})
    hub.requests.clear()
    with pytest.raises(BadInput, match="mubench/other has no run.json, so it is not a checkpoint of this benchmark"):
        checkpoint_folder("mubench/other")
    assert not any("safetensors" in path for _, path in hub.requests), "nothing but the record was asked for"


@pytest.mark.parametrize("seed", range(3))
def test_a_busy_hub_is_asked_again(hub, published, seed, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.faults = Faults(unavailable=0.3, seed=seed)
    assert names_in(checkpoint_folder(published[0])) == set(published[1])
    assert published_result(published[0]).method == "scrub"


@pytest.mark.parametrize(("endpoint", "tries"), [(None, NETWORK_ATTEMPTS), ("http://127.0.0.1:9", 1)])
def test_a_hub_that_does_not_answer(hub, published, endpoint, tries, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.faults = Faults(unavailable=1)
    if endpoint:
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(BadInput, match=f"The Hub at {hub.url} cannot be reached, after {tries} tr"):
        checkpoint_folder(published[0])
    with pytest.raises(BadInput, match="cannot be reached"):
        published_result("mubench/another")


def test_scores_alone_are_fetched_without_weights(hub, published, monkeypatch):
    assert published_result(published[0]).to_json().encode() == published[1]["run_result.json"]
    assert not any("safetensors" in path for _, path in hub.requests)
    hub.add("model", "mubench/other", {"config.json": b"{}"})
    assert published_result("mubench/other") is published_result("mubench/gone") is None
    hub.add("model", "mubench/odd", {"run_result.json": b"{}"})
    with pytest.raises(BadInput, match="Cannot read the result"):
        published_result("mubench/odd")


def test_a_full_disk(published, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(BadInput, match=f"{published[0]} cannot be kept: .*No space left on device"):
        checkpoint_folder(published[0])
