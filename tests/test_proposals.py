"""A proposal adds files by one pull request, whatever happens on the way, and replaces nothing."""

import os

import pytest
from hub import OUTSIDER, READER, WRITER, Faults

from mubench_hf.errors import BadInput
from mubench_hf.hub import Bundle
from mubench_hf.hub.propose import propose
from mubench_hf.hub.publish import Publisher

NAME, TITLE = "mubench/results", "Results of 2 runs"


@pytest.fixture(autouse=True)
def online(loopback_only, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "a.npz").write_bytes(os.urandom(1000))
    files = {"README.md": b"ours", "runs/x/a.json": b"{}", "outputs/x/a.npz": tmp_path / "a.npz"}
    return Bundle("dataset", NAME, files, lambda path: False, marker="README.md", same=lambda there: True)


@pytest.fixture
def board(hub):
    """A results data set in which something is already."""
    hub.add("dataset", NAME, {"README.md": b"the maintainers'", "runs/x/b.json": b"{}"})
    return hub


def ask(hub, bundle, token=OUTSIDER, title=TITLE):
    return propose(Publisher(hub.url, token, wait=0), bundle, title, "Times are as stated.")


def pulls(hub):
    return hub.repos["dataset", NAME].pulls


def test_a_stranger_proposes_and_nothing_changes_until_it_is_merged(board, bundle):
    before, content = board.files("dataset", NAME), bundle.files["outputs/x/a.npz"].read_bytes()
    done = ask(board, bundle)
    assert done.outcome == "proposed" and done.url == f"{board.url}/datasets/{NAME}/discussions/1"
    assert board.files("dataset", NAME) == before
    (pull,) = pulls(board)
    assert (pull.title, pull.author) == (TITLE, "outsider")
    _, proposed = board.repos["dataset", NAME].at("refs/pr/1")
    assert proposed["outputs/x/a.npz"] == content and proposed["runs/x/a.json"] == b"{}"
    assert proposed["README.md"] == b"the maintainers'" and proposed["runs/x/b.json"] == b"{}"


def test_a_repeat_says_so(board, bundle):
    first, second = ask(board, bundle), ask(board, bundle)
    assert (second.outcome, second.url) == ("already proposed", first.url) and len(pulls(board)) == 1
    board.repos["dataset", NAME].merge(1)
    third = ask(board, bundle)
    assert (third.outcome, third.url) == ("already there", None) and len(pulls(board)) == 1


def test_the_first_proposal_brings_the_card(hub, bundle):
    hub.add("dataset", NAME, {})
    ask(hub, bundle)
    assert pulls(hub)[0].commit[1]["README.md"] == b"ours"


def test_what_is_there_with_other_content_is_never_replaced(board, bundle):
    board.add("dataset", NAME, {"runs/x/a.json": b"theirs"})
    with pytest.raises(BadInput, match=r"has runs/x/a.json already, with other content \(1 such files\)"):
        ask(board, bundle)
    assert not pulls(board)


@pytest.mark.parametrize(
    ("token", "reason"), [(READER, "may only read"), ("hf_wrong", "not accept"), (None, "no token")]
)
def test_without_a_token_that_writes(board, bundle, token, reason):
    with pytest.raises(BadInput, match=reason):
        ask(board, bundle, token)
    assert not pulls(board)


def test_without_such_a_data_set(hub, bundle):
    with pytest.raises(BadInput, match="There is no datasets/mubench/results on the Hub"):
        ask(hub, bundle, WRITER)


@pytest.mark.parametrize("faults", [Faults(lost_answers=1), Faults(cut_uploads=2), Faults(unavailable=0.3, seed=5)])
def test_faults_on_the_way_make_one_pull_request(board, bundle, faults):
    board.faults = faults
    assert ask(board, bundle).url == f"{board.url}/datasets/{NAME}/discussions/1"
    assert len(pulls(board)) == 1 and pulls(board)[0].commit[1]["runs/x/a.json"] == b"{}"


def test_a_file_that_went_away_is_named(board, bundle, tmp_path):
    (tmp_path / "a.npz").unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        ask(board, bundle)
