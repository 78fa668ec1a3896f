"""The loopback Hub serves the real client, keeps revisions apart, refuses and breaks as it is told to."""

import json
import subprocess
import sys

import pytest
from hub import OUTSIDER, READER, WRITER, Faults

CLIENT = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, ModelCard, hf_hub_download, snapshot_download
from huggingface_hub.utils import HfHubHTTPError, RevisionNotFoundError

api, found = HfApi(), {}
folder = Path(sys.argv[1])
for kind in ("model", "dataset", "space"):
    sdk = {"space_sdk": "gradio"} if kind == "space" else {}
    name = str(api.create_repo("mubench/thing", repo_type=kind, exist_ok=True, **sdk).repo_id)
    (folder / "a.txt").write_text("first")
    first = api.upload_folder(folder_path=folder, repo_id=name, repo_type=kind).oid
    (folder / "a.txt").write_text("second")
    second = api.upload_folder(folder_path=folder, repo_id=name, repo_type=kind).oid
    again = api.upload_folder(folder_path=folder, repo_id=name, repo_type=kind).oid
    texts = []
    for revision in (first, None, second[:12]):
        texts.append(Path(hf_hub_download(name, "a.txt", repo_type=kind, revision=revision)).read_text())
    at = Path(snapshot_download(name, repo_type=kind, revision=first))
    tree = {file.path: getattr(file, "size", None) for file in api.list_repo_tree(name, repo_type=kind, recursive=True)}
    (info,) = api.get_paths_info(name, ["sub/b.bin"], repo_type=kind)
    found[kind] = {
        "texts": texts, "snapshot": (at / "a.txt").read_text(), "tree": tree, "size": info.size,
        "no new commit": again == second, "head": api.repo_info(name, repo_type=kind).sha == second,
        "refs": api.list_repo_refs(name, repo_type=kind).branches[0].target_commit == second,
    }
    try:
        hf_hub_download(name, "a.txt", repo_type=kind, revision="v9")
    except RevisionNotFoundError as error:
        found[kind]["unknown revision"] = True
found["who"] = api.whoami()["name"]
ModelCard("---\\ntags: [a]\\n---\\ntext").validate()
try:
    ModelCard("---\\nlicense: [a]\\n---\\ntext").validate()
except ValueError as error:
    found["invalid card"] = str(error)
print(json.dumps(found))
"""


def run(code, env, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_real_client_pushes_pulls_and_pins(hub_env, tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "b.bin").write_bytes(bytes(range(256)))
    found = json.loads(run(CLIENT, hub_env, folder))
    for kind in ("model", "dataset", "space"):
        seen = found[kind]
        assert seen.pop("texts") == ["first", "second", "second"] and seen.pop("snapshot") == "first"
        tree = seen.pop("tree")
        assert seen.pop("size") == tree["sub/b.bin"] == 256 and tree["a.txt"] == 6 and set(tree) > {"sub"}
        assert seen and all(seen.values()), seen
    assert found["who"] == "writer" and "must be a string" in found["invalid card"]


UPLOAD = """
import json, time
from huggingface_hub import HfApi
start, api, outcome = time.time(), HfApi(), "sent"
try:
    api.upload_file(path_or_fileobj=b"x" * 100_000, path_in_repo="a.txt", repo_id="mubench/thing")
except Exception as error:
    outcome = type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
print(json.dumps([outcome, time.time() - start]))
"""


@pytest.mark.parametrize(
    ("faults", "outcome", "stored"),
    [
        (Faults(cut_uploads=1), ["RemoteProtocolError", None], False),
        (Faults(lost_answers=1), ["RemoteProtocolError", None], True),
        (Faults(seconds=0.3), "sent", True),
    ],
    ids=["cut", "lost", "slow"],
)
def test_uploads_go_wrong_as_told(hub, hub_env, faults, outcome, stored):
    hub.add("model", "mubench/thing", {})
    hub.faults = faults
    found, seconds = json.loads(run(UPLOAD, hub_env))
    assert found == outcome and ("a.txt" in hub.files("model", "mubench/thing")) == stored
    assert seconds > 2 * faults.seconds


def test_a_share_of_requests_is_unavailable_by_seed(hub):
    import urllib.error
    import urllib.request

    def answers(faults):
        hub.faults, seen = faults, []
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"{hub.url}/api/organizations/mubench/overview", timeout=10) as answer:
                    seen.append(answer.status)
            except urllib.error.HTTPError as error:
                seen.append(error.code)
        return seen

    first = answers(Faults(unavailable=0.3, seed=3))
    assert 30 < first.count(503) < 90 and set(first) == {200, 503}
    assert answers(Faults(unavailable=0.3, seed=3)) == first != answers(Faults(unavailable=0.3, seed=4))


@pytest.mark.parametrize(
    ("token", "name", "status"),
    [(READER, "mubench/thing", 403), (OUTSIDER, "mubench/thing", 403), (WRITER, "elsewhere/thing", 403),
     ("wrong", "mubench/thing", 401)],
)  # fmt: skip
def test_only_members_with_a_writing_token_write(hub, hub_env, token, name, status):
    hub.add("model", name, {})
    code = UPLOAD.replace("mubench/thing", name)
    (_, found), _ = json.loads(run(code, {**hub_env, "HF_TOKEN": token}))
    assert found == status and not hub.files("model", name)
