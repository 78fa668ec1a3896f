"""A Space is sent with its page, its card and what it needs; a Space of somebody else's is left alone."""

import pytest
from hub import WRITER
from huggingface_hub import RepoCard

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.hub import list_spaces, space_bundle
from mubench_hf.hub.publish import Publisher

CARD = "---\ntitle: A made-up page\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\n---\n\n# Words\n"
FILES = {"README.md": CARD, "app.py": "import gradio\n", "requirements.txt": "mubench_hf\n", "plot.py": "",
         "a.css": "b{}", "how.md": "text"}  # fmt: skip
PLANTED = [".env", "data.pkl", "secrets.json", "notes.txt", "deep/app.py", "__pycache__/app.cpython-311.pyc", "a.png"]


@pytest.fixture
def spaces(tmp_path, monkeypatch):
    """A folder with two made-up Spaces."""
    for name in ("one", "two"):
        for path, text in FILES.items():
            (tmp_path / "spaces" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "spaces" / name / path).write_text(text.replace("made-up", name))
    (tmp_path / "spaces" / "no_space").mkdir()
    monkeypatch.setattr("mubench_hf.hub.space.shipped_folder", lambda name: tmp_path / name)
    return tmp_path / "spaces"


def test_only_the_page_and_its_files_are_sent(spaces, tmp_path):
    for path in PLANTED:
        (spaces / "one" / path).parent.mkdir(exist_ok=True)
        (spaces / "one" / path).write_bytes(b"secret")
    (tmp_path / "outside.py").write_text("secret")
    (spaces / "one" / "link.py").symlink_to(tmp_path / "outside.py")
    bundle = space_bundle("one", org="lab")
    assert (bundle.kind, bundle.repo_id, set(bundle.files)) == ("space", "lab/one", set(FILES))
    assert set(bundle.left_out) == {*PLANTED, "link.py (a link)"}


def test_what_is_no_space_is_refused(spaces):
    assert list_spaces() == ["one", "two"]
    with pytest.raises(BadInput, match="Unknown space 'onee'. Did you mean 'one'"):
        space_bundle("onee")
    (spaces / "one" / "requirements.txt").unlink()
    with pytest.raises(BadInput, match="lacks requirements.txt"):
        space_bundle("one")
    for version in ("6", "'>=6'", "latest"):
        (spaces / "two" / "README.md").write_text(CARD.replace("6.31.0", version))
        with pytest.raises(BadInput, match="needed are gradio and one version of it"):
            space_bundle("two")
    (spaces / "two" / "README.md").write_text(CARD)
    (spaces / "two" / "app.py").write_text(f"token = 'hf_{'aB3' * 12}'")
    with pytest.raises(BadInput, match="app.py of spaces/mubench/two holds what looks like a token"):
        space_bundle("two")


def test_spaces_are_published_and_others_left_alone(spaces, hub_here, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: WRITER)
    dispatch(["publish", "space", "all"])
    assert "spaces/mubench/two (6 files" in capsys.readouterr().out and not hub_here.repos
    dispatch(["publish", "space", "all", "--push"])
    assert {name: set(hub_here.files("space", f"mubench/{name}")) for name in ("one", "two")} == dict.fromkeys(
        ("one", "two"), set(FILES)
    )
    card = RepoCard.load("mubench/one", repo_type="space")
    card.validate(repo_type="space")
    assert card.data.to_dict() == RepoCard(CARD.replace("made-up", "one")).data.to_dict()
    (spaces / "one" / "plot.py").unlink()
    (spaces / "one" / "app.py").write_text("import gradio as gr\n")
    assert Publisher(token=WRITER).push(space_bundle("one")).outcome == "updated"
    assert "plot.py" not in hub_here.files("space", "mubench/one")
    for name, files in (("a", {"app.py": b"theirs"}), ("b", {"app.py": b"", "README.md": CARD.encode()})):
        hub_here.add("space", f"lab{name}/two", files)
        hub_here.members[f"lab{name}"] = {"writer"}
        with pytest.raises(BadInput, match=f"spaces/lab{name}/two is taken by something else"):
            Publisher(token=WRITER).push(space_bundle("two", org=f"lab{name}"))
