"""Publishing ends complete whatever happens on the way, changes nothing twice, and says in one line what went wrong."""

import random
from pathlib import Path

import pytest
from hub import OUTSIDER, READER, WRITER, Faults
from hub_store import Refused
from made_up import checkpoint, weights

from mubench_hf.errors import BadInput
from mubench_hf.hub import metric_bundle, model_bundle, retries
from mubench_hf.hub.publish import Publisher

NAME = "mubench/cifar100-mini-vit-tiny-scrub-df5pct-s42"


@pytest.fixture(autouse=True)
def online(loopback_only, monkeypatch):
    # Waiting is counted in test_waits_grow_and_end, and skipped everywhere.
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def folder(tmp_path) -> Path:
    return checkpoint(tmp_path)[0]


def publisher(hub, token=WRITER):
    return Publisher(endpoint=hub.url, token=token, wait=0)


def content(bundle):
    return {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}


def commits(hub, kind="model", name=NAME):
    return len(hub.repos[kind, name].commits) - 1


def test_a_second_push_sends_nothing(hub, folder):
    first = publisher(hub).push(model_bundle(folder))
    assert first.outcome == "created" and hub.files("model", NAME) == content(first.bundle)
    assert first.revision == hub.repos["model", NAME].commits[-1][0]
    hub.requests.clear()
    second = publisher(hub).push(model_bundle(folder))
    assert (second.outcome, second.revision) == ("unchanged", first.revision) and commits(hub) == 1
    assert {method for method, _ in hub.requests} == {"GET"}


def test_what_changed_is_sent_and_what_went_is_deleted(hub, folder):
    (folder / "vocab.txt").write_text("a")
    publisher(hub).push(model_bundle(folder))
    hub.add("model", NAME, {"notes.txt": b"a person's", ".gitattributes": b"own"})
    (folder / "vocab.txt").unlink()
    (folder / "model.safetensors").write_bytes(weights(random.random()))
    done = publisher(hub).push(model_bundle(folder))
    assert done.outcome == "updated"
    assert hub.files("model", NAME) == {**content(done.bundle), "notes.txt": b"a person's"}
    assert publisher(hub).push(model_bundle(folder)).outcome == "unchanged"


@pytest.mark.parametrize("kind", ["model", "space"])
def test_a_name_taken_by_something_else_is_left_alone(hub, folder, kind):
    bundle = model_bundle(folder) if kind == "model" else metric_bundle("zrf")
    hub.add(kind, bundle.repo_id, {"weights.h5": b"theirs"})
    with pytest.raises(BadInput, match=r"taken by something else on the Hub \(weights.h5"):
        publisher(hub).push(bundle)
    assert hub.files(kind, bundle.repo_id) == {"weights.h5": b"theirs"}


def test_another_run_of_that_name_is_left_alone(hub, tmp_path):
    folder, record, _ = checkpoint(tmp_path, "original")
    name = f"mubench/{record.run.checkpoint_name}"
    text = (folder / "run.json").read_bytes()
    hub.add("model", name, {"run.json": text.replace(b'"seed": 42', b'"seed": 7')})
    with pytest.raises(BadInput, match="taken"):
        publisher(hub).push(model_bundle(folder))
    hub.add("model", name, {"run.json": text + b"\n"})
    assert publisher(hub).push(model_bundle(folder)).outcome == "updated"


def test_an_empty_repository_is_filled(hub, folder):
    hub.add("model", NAME, {"README.md": b"to come"})
    done = publisher(hub).push(model_bundle(folder))
    assert done.outcome == "updated" and hub.files("model", NAME) == content(done.bundle)


def test_a_cut_upload_is_made_up_for(hub, folder):
    hub.faults = Faults(cut_uploads=2)
    done = publisher(hub).push(model_bundle(folder))
    assert done.outcome == "created" and hub.files("model", NAME) == content(done.bundle) and commits(hub) == 1


def test_a_lost_answer_makes_no_second_commit(hub, folder):
    hub.faults = Faults(lost_answers=1)
    done = publisher(hub).push(model_bundle(folder))
    assert done.outcome == "created" and done.revision == hub.repos["model", NAME].commits[-1][0]
    assert commits(hub) == 1 and sum("/commit/" in path for _, path in hub.requests) == 1


def test_a_commit_that_came_between_is_seen(hub, folder, monkeypatch):
    publisher(hub).push(model_bundle(folder))
    (folder / "model.safetensors").write_bytes(weights(2))
    between, commit = iter([True]), Publisher.commit

    def late(self, bundle, *rest):
        if next(between, False):
            hub.add("model", NAME, {"config.json": b"{}", "README.md": b"x"})
        return commit(self, bundle, *rest)

    monkeypatch.setattr(Publisher, "commit", late)
    done = publisher(hub).push(model_bundle(folder))
    assert done.outcome == "updated" and hub.files("model", NAME) == content(done.bundle)


@pytest.mark.parametrize("seed", range(3))
def test_a_third_of_the_requests_unavailable(hub, folder, seed):
    hub.faults = Faults(unavailable=0.3, seed=seed)
    bundles = [model_bundle(folder), metric_bundle("zrf")]
    publisher(hub).publish(bundles)
    for bundle in bundles:
        assert hub.files(bundle.kind, bundle.repo_id) == content(bundle)
        assert commits(hub, bundle.kind, bundle.repo_id) == 1


def test_a_hub_that_stays_busy_is_given_up(hub, folder):
    hub.faults = Faults(unavailable=1)
    with pytest.raises(BadInput, match=f"{hub.url} cannot be reached, after {retries.ATTEMPTS} tries.*503"):
        publisher(hub).push(model_bundle(folder))
    assert len(hub.requests) == retries.ATTEMPTS


def test_waits_grow_and_end(hub, monkeypatch):
    waits = []
    monkeypatch.setattr("mubench_hf.hub.retries.time.sleep", waits.append)
    hub.faults = Faults(unavailable=1)
    with pytest.raises(BadInput):
        Publisher(endpoint=hub.url, token=WRITER).check_right("mubench")
    waits = [wait for wait in waits if wait]  # The Hub's own answers take no time.
    assert waits[:5] == [0.5, 1, 2, 4, 8] and max(waits) == retries.LONGEST_WAIT and sum(waits) < 90


def test_without_a_network(folder):
    away = Publisher(endpoint="http://127.0.0.1:9", token=WRITER, wait=0)
    with pytest.raises(BadInput, match=f"127.0.0.1:9 cannot be reached, after {retries.NETWORK_ATTEMPTS} tries"):
        away.publish([model_bundle(folder)])


def test_offline_mode_is_named(folder, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE is set"):
        publisher(hub).publish([model_bundle(folder)])


@pytest.mark.parametrize(
    ("token", "org", "message"),
    [
        (None, "mubench", "no token of the Hub. Run `hf auth login`"),
        ("wrong", "mubench", "does not accept the token"),
        (READER, "mubench", "token of writer may only read"),
        (OUTSIDER, "mubench", "outsider is no member of the organisation 'mubench'. Allowed for --org: outsider"),
        (WRITER, "nowhere", "There is no organisation 'nowhere'. Allowed for --org: mubench, writer"),
    ],
)
def test_rights_are_checked_before_anything_is_made(hub, folder, token, org, message):
    with pytest.raises(BadInput, match=f"{message}.* Done: nothing. Remaining: {org}/cifar100"):
        publisher(hub, token).publish([model_bundle(folder, org=org)])
    assert not hub.repos


def test_a_right_that_is_missing_after_all(hub, folder):
    push = publisher(hub, OUTSIDER)
    hub.add("model", NAME, {})
    with pytest.raises(BadInput, match=f"{NAME} cannot be published: the token has no right to write there"):
        push.push(model_bundle(folder))


def test_what_is_done_and_what_remains_is_said(hub, folder):
    bundles, seen = [metric_bundle("zrf"), model_bundle(folder), metric_bundle("accuracy")], []
    hub.add("model", NAME, {"weights.h5": b"theirs"})
    expected = f"taken by .* Done: spaces/mubench/zrf. Remaining: {NAME}, spaces/mubench/accuracy. The same command"
    with pytest.raises(BadInput, match=expected):
        publisher(hub).publish(bundles, seen.append)
    del hub.repos["model", NAME]
    publisher(hub).publish(bundles, seen.append)
    assert [done.outcome for done in seen] == ["created", "unchanged", "created", "created"]


def test_a_card_that_the_hub_refuses(hub, folder):
    bundle = model_bundle(folder)
    bundle.files["README.md"] = b"---\nlicense: [a]\n---\ntext"
    with pytest.raises(BadInput, match="(?s)The Hub refuses the card of .*must be a string"):
        publisher(hub).push(bundle)


def test_a_file_that_goes_missing(hub, folder):
    bundle = model_bundle(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match="cannot be read.*config.json"):
        publisher(hub).push(bundle)
    assert not hub.repos


def test_a_page_in_place_of_json_is_a_busy_hub(hub, folder, monkeypatch):
    validate, pages = hub.validate, iter(range(retries.NETWORK_ATTEMPTS + 2))

    def busy(asked):
        if next(pages, None) is not None:
            raise Refused(503, "{no JSON")
        return validate(asked)

    monkeypatch.setattr(hub, "validate", busy)
    done = publisher(hub).push(model_bundle(folder))
    assert hub.files("model", NAME) == content(done.bundle) and commits(hub) == 1
