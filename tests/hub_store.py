"""What a Hub for the tests keeps and answers, without the network: repositories, their revisions, who may write."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import yaml

DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class PullRequest:
    """A proposed revision, at ``refs/pr/<number>``."""

    title: str
    author: str
    commit: tuple[str, dict[str, bytes]]
    status: str = "open"


@dataclass
class Repo:
    """One repository: revisions, the newest last; pull requests, each one commit on top of ``main``; who sees it."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: list[PullRequest] = field(default_factory=list)
    private: bool = False

    def commit(self, files: dict[str, bytes]) -> str:
        """Store a revision and return its name, a hash over it and all before it."""
        self.commits.append(self.next(files))
        return self.commits[-1][0]

    def next(self, files: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
        """Return a revision on top of the newest."""
        digest = hashlib.sha1(self.commits[-1][0].encode() if self.commits else b"")
        for path, content in sorted(files.items()):
            digest.update(f"{path} {blob_id(content)}\n".encode())
        return digest.hexdigest(), dict(files)

    def merge(self, number: int) -> str:
        """Make a pull request the newest revision, as its maintainers would."""
        self.pulls[number - 1].status = "merged"
        return self.commit({**self.commits[-1][1], **self.pulls[number - 1].commit[1]})

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """Return (oid, files) of a branch, a tag or a commit; ``NotFound`` if there is none."""
        if revision in ("main", "refs/heads/main"):
            return self.commits[-1]
        if revision.startswith("refs/pr/") and 0 < int(revision[8:]) <= len(self.pulls):
            return self.pulls[int(revision[8:]) - 1].commit
        wanted = self.tags.get(revision, revision)
        for oid, files in (*self.commits, *(pull.commit for pull in self.pulls)):
            if len(wanted) >= 7 and oid.startswith(wanted):
                return oid, files
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")


class Refused(Exception):
    """An answer that is an error: status, message, and the code by which the clients choose their exception."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def blob_id(content: bytes) -> str:
    """Return git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Store:
    """Models, data sets and spaces in memory, and what the Hub answers about them; every refusal is a ``Refused``.

    Attributes:
        repos: (kind, ``org/name``) → repository.
        members: Organisation → users who may write in it.
        url: Address of the Hub, for the links in its answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.repos: dict[tuple[str, str], Repo] = {}
        self.members: dict[str, set[str]] = {"mubench": {"writer"}, "elsewhere": set()}

    def files(self, kind: str, name: str) -> dict[str, bytes]:
        """Return the newest files of a repository without the one every repository begins with."""
        return {path: data for path, data in self.repos[kind, name].commits[-1][1].items() if path != ".gitattributes"}

    def add(self, kind: str, name: str, files: dict[str, bytes]) -> str:
        """Store files in a repository, as if somebody had pushed them; return the revision."""
        repo = self.repos.setdefault((kind, name), Repo([("0" * 40, {".gitattributes": b""})]))
        return repo.commit({**repo.commits[-1][1], **files})

    def whoami(self, user: tuple[str, str] | None) -> dict:
        """Answer who a token is."""
        if user is None:
            raise Refused(401, "Invalid username or password.")
        orgs = [{"name": org, "type": "org", "isEnterprise": False} for org, names in self.members.items()]
        return {
            "type": "user", "name": user[0], "id": user[0], "fullname": user[0],
            "orgs": [org for org in orgs if user[0] in self.members[org["name"]]],
            "auth": {"type": "access_token", "accessToken": {"displayName": "t", "role": user[1]}},
        }  # fmt: skip

    def organization(self, name: str) -> dict:
        """Answer what an organisation is."""
        if name not in self.members:
            raise Refused(404, "This organization does not exist")
        return {"name": name, "fullname": name, "avatarUrl": "", "isHf": False, "isFollowing": False}

    def create(self, user: tuple[str, str] | None, asked: dict) -> dict:
        """Make a repository with git's attributes in it."""
        owner = asked.get("organization") or (user or ("",))[0]
        self._may_write(user, owner)
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        url = f"{self.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.repos:
            raise Refused(409, json.dumps({"error": f"You already created this {kind} repo", "url": url}))
        self.repos[kind, name] = Repo(private=asked.get("visibility") == "private")
        self.repos[kind, name].commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return {"url": url, "name": name, "id": name}

    def validate(self, asked: dict) -> dict:
        """Check a card's metadata: YAML between two rules, and the fields of a model's scores."""
        parts = asked["content"].split("---\n")
        try:
            metadata = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
            assert isinstance(metadata, dict), "metadata must be an object"
            for entry in metadata.get("model-index", []):
                assert isinstance(entry["name"], str) and entry["results"], '"model-index[0].results" is required'
                for result in entry["results"]:
                    assert result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"]
                    assert all("type" in metric and "value" in metric for metric in result["metrics"])
            for text in ("license", "pretty_name", "pipeline_tag", "library_name"):
                assert isinstance(metadata.get(text, ""), str), f'"{text}" must be a string'
            for texts in ("tags", "datasets"):
                assert all(isinstance(item, str) for item in metadata.get(texts, [])), f'"{texts}" must be strings'
        except (AssertionError, KeyError, TypeError, yaml.YAMLError) as error:
            raise Refused(400, json.dumps({"errors": [{"message": str(error)}], "warnings": []})) from error
        return {"errors": [], "warnings": []}

    def repo(self, kind: str, name: str) -> Repo:
        """Return a repository."""
        if (kind, name) not in self.repos:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return self.repos[kind, name]

    def info(self, kind: str, name: str, revision: str = "main") -> dict:
        """Answer what a revision of a repository is."""
        oid, files = self.repo(kind, name).at(revision)
        return {
            "_id": name, "id": name, "sha": oid, "private": self.repo(kind, name).private, "gated": False,
            "disabled": False, "likes": 0, "downloads": 0, "tags": [], "createdAt": DATE, "lastModified": DATE,
            "author": name.split("/")[0],
            "siblings": [{"rfilename": path} for path in sorted(files)],
        }  # fmt: skip

    def listed(self, author: str, tags: list[str]) -> list[dict]:
        """Answer with an organisation's models whose card has all of these tags."""
        names = [name for kind, name in self.repos if kind == "model" and name.split("/")[0] == author]
        return [self.info("model", name) for name in sorted(names) if set(tags) <= set(self._tags(name))]

    def _tags(self, name: str) -> list[str]:
        card = self.files("model", name).get("README.md", b"").decode()
        return yaml.safe_load(card.split("---\n")[1]).get("tags", []) if card.startswith("---\n") else []

    def tree(self, kind: str, name: str, revision: str, path: str, recursive: bool) -> list[dict]:
        """Answer with the files and folders under ``path``."""
        _, files = self.repo(kind, name).at(revision)
        found = entries(files)
        if path and path not in found:
            raise Refused(404, f"{path} does not exist", "EntryNotFound")
        inside = [PurePosixPath(entry) for entry in found if not path or entry.startswith(f"{path}/")]
        depth = len(PurePosixPath(path).parts) + 1
        return [found[str(entry)] for entry in sorted(inside) if recursive or len(entry.parts) == depth]

    def discussions(self, kind: str, name: str, status: str) -> dict:
        """Answer with the pull requests of a status."""
        pulls = enumerate(self.repo(kind, name).pulls, start=1)
        found = [
            {"title": pull.title, "num": number, "author": {"name": pull.author}, "createdAt": DATE,
             "status": pull.status, "isPullRequest": True, "repo": {"name": name, "type": kind}}
            for number, pull in pulls if pull.status == status
        ]  # fmt: skip
        return {"discussions": found, "count": len(found), "start": 0}

    def preupload(
        self, user: tuple[str, str] | None, kind: str, name: str, revision: str, asked: dict, is_pull: bool = False
    ) -> dict:
        """Say that every file goes into the commit itself, and which of them are there already."""
        _, files = self.repo(kind, name).at(revision)
        self._may_write(user, user[0] if user and is_pull else name.split("/")[0])
        paths = [file["path"] for file in asked["files"]]
        oids = {path: {"oid": blob_id(files[path])} for path in paths if path in files}
        regular = {"uploadMode": "regular", "shouldIgnore": False}
        return {"files": [{"path": path, **regular, **oids.get(path, {})} for path in paths]}

    def commit(
        self, user: tuple[str, str] | None, kind: str, name: str, lines: list[dict], is_pull: bool = False
    ) -> dict:
        """Store what the lines of a commit say, all of it or nothing; anybody may propose a pull request."""
        repo, files = self.repo(kind, name), dict(self.repo(kind, name).commits[-1][1])
        self._may_write(user, user[0] if user and is_pull else name.split("/")[0])
        for line in lines:
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, repo.commits[-1][0]):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] != "header":
                raise Refused(400, f"This Hub knows no {line['key']}")
        pull = {}
        if is_pull:
            title = next(line["value"]["summary"] for line in lines if line["key"] == "header")
            repo.pulls.append(PullRequest(title, user[0], repo.next(files)))
            pull = {"pullRequestUrl": f"{self.url}/{kind}s/{name}/discussions/{len(repo.pulls)}"}
        oid = repo.pulls[-1].commit[0] if is_pull else repo.commit(files)
        url = f"{self.url}/{name}/commit/{oid}"
        return {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": "", **pull}

    def _may_write(self, user: tuple[str, str] | None, owner: str) -> None:
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if user[1] != "write" or user[0] not in self.members.get(owner, {owner}):
            raise Refused(403, f"You don't have the rights to write under the namespace {owner!r}")


def entries(files: dict[str, bytes]) -> dict[str, dict]:
    """Return what the Hub says of each file and folder, by path."""
    found = {}
    for path, content in files.items():
        for folder in list(PurePosixPath(path).parents)[:-1]:
            oid = hashlib.sha1(str(folder).encode()).hexdigest()
            found[str(folder)] = {"type": "directory", "path": str(folder), "oid": oid, "size": 0}
        found[path] = {"type": "file", "path": path, "oid": blob_id(content), "size": len(content)}
    return found
