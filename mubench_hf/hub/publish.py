"""The only module that writes to a Hub: one commit turns what is there into what is to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.hub import Bundle
from mubench_hf.hub.retries import Retries, Tries, refusal, status_of, transient

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi


@dataclass(frozen=True)
class Published:
    """What became of one repository.

    Attributes:
        bundle: The repository.
        outcome: ``created``, ``updated`` or ``unchanged``.
        revision: Its commit now: pin this one.
    """

    bundle: Bundle
    outcome: str
    revision: str


class Publisher:
    """Pushes bundles to one Hub with one token.

    Args:
        endpoint: Address of the Hub; default: that of ``huggingface_hub`` (``HF_ENDPOINT``).
        token: A token; default: the one that ``hf auth login`` stored, or ``HF_TOKEN``.
        wait: Seconds before a request that failed is tried a second time.
        private: Whether a repository that is made is private; default: what its organisation has set.
    """

    def __init__(
        self, endpoint: str | None = None, token: str | None = None, wait: float = 0.5, private: bool | None = None
    ):
        from huggingface_hub import HfApi, get_token

        self.api: HfApi = HfApi(endpoint=endpoint, token=token or get_token())
        self.retries, self.private = Retries(self.api.endpoint, wait), private

    def publish(self, bundles: Sequence[Bundle], report: Callable[[Published], None] = lambda done: None) -> None:
        """Push bundles one after the other; repeated after an interruption, it goes on where it was.

        Args:
            bundles: What to push.
            report: Called after each one.

        Raises:
            BadInput: If there is no token or right to write, the Hub cannot be reached, or a name is taken by something
                else; the message says what is done and what remains.
        """
        done: list[str] = []
        try:
            for org in sorted({bundle.repo_id.split("/")[0] for bundle in bundles}):
                self.check_right(org)
            for bundle in bundles:
                published = self.push(bundle)
                done.append(bundle.name)
                report(published)
        except BadInput as error:
            remaining = ", ".join(bundle.name for bundle in bundles if bundle.name not in done)
            raise BadInput(
                f"{error} Done: {', '.join(done) or 'nothing'}. Remaining: {remaining}. "
                "The same command goes on from there."
            ) from error

    def check_right(self, org: str) -> None:
        """Check that the token may write under ``org``.

        Raises:
            BadInput: If there is no token, it is not valid or may only read, or its owner is not in the organisation.
        """
        from huggingface_hub.errors import HfHubHTTPError

        who = self.owner_of_token()
        orgs = {found["name"] for found in who.get("orgs", [])}
        if org in orgs | {who["name"]}:
            return
        try:
            self.retries.ask(self.api.get_organization_overview, org)
            what = f"{who['name']} is no member of the organisation {org!r}"
        except HfHubHTTPError as error:
            what = f"There is no organisation {org!r}" if status_of(error) == 404 else f"{org!r} cannot be written to"
        raise BadInput(f"{what}. Allowed for --org: {', '.join(sorted(orgs | {who['name']}))}.")

    def owner_of_token(self) -> dict[str, Any]:
        """Return what the Hub says of the token's owner.

        Raises:
            BadInput: If there is no token, or it is not valid or may only read.
        """
        from huggingface_hub.errors import HfHubHTTPError

        if not self.api.token:
            raise BadInput("There is no token of the Hub. Run `hf auth login`, or set HF_TOKEN to one that may write.")
        try:
            who = self.retries.ask(self.api.whoami)
        except HfHubHTTPError as error:
            if status_of(error) in (401, 403):
                raise BadInput("The Hub does not accept the token. Run `hf auth login` with a valid one.") from error
            raise refusal("The Hub does not say who the token belongs to", error) from error
        if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise BadInput(f"The token of {who['name']} may only read. Use one that may write.")
        return who

    def push(self, bundle: Bundle) -> Published:
        """Make one repository what the bundle says, by one commit or, where it is that already, by none.

        Raises:
            BadInput: If it cannot be: it holds something else, may not be written to, or the Hub cannot be reached.
        """
        from huggingface_hub.errors import HfHubHTTPError

        outcome, created, tries = "unchanged", False, Tries(self.retries)
        while True:
            try:
                for path in bundle.files:
                    bundle.size(path)  # A file that went away is noticed before a repository is made for it.
                head, made = self._head_or_new(bundle)
                created |= made
                adds, deletes = self._changes(bundle, head)
                if not adds and not deletes:
                    return Published(bundle, outcome, head)
                outcome = "created" if created else "updated"
                return Published(bundle, outcome, self.commit(bundle, head, adds, deletes).oid)
            except transient() as error:
                # What is to be done is looked up afresh: a commit whose answer was lost may have been stored, and
                # after 409 or 412 another commit came between.
                try:
                    tries.again(error, also=(409, 412))
                except HfHubHTTPError:
                    raise refusal(f"{bundle.name} cannot be published", error) from error
            except OSError as error:
                raise BadInput(f"A file of {bundle.name} cannot be read or kept: {error}.") from error
            except ValueError as error:
                if isinstance(error, BadInput):
                    raise
                raise BadInput(f"The Hub refuses the card of {bundle.name}: {error}") from error

    def _head_or_new(self, bundle: Bundle) -> tuple[str, bool]:
        """Return the newest commit of a repository, and whether it was made just now."""
        from huggingface_hub.errors import RepositoryNotFoundError

        info = {"repo_id": bundle.repo_id, "repo_type": bundle.kind}
        try:
            return self.retries.ask(self.api.repo_info, **info).sha, False
        except RepositoryNotFoundError:
            sdk = {"space_sdk": "gradio"} if bundle.kind == "space" else {}
            self.retries.ask(self.api.create_repo, **info, **sdk, private=self.private, exist_ok=True)
            return self.retries.ask(self.api.repo_info, **info).sha, True

    def _changes(self, bundle: Bundle, head: str) -> tuple[list[str], list[str]]:
        """Return the paths to send and those to delete.

        Raises:
            BadInput: If the repository holds something else.
        """
        where = {"repo_id": bundle.repo_id, "repo_type": bundle.kind, "revision": head}
        tree = self.retries.ask(lambda: list(self.api.list_repo_tree(**where, recursive=True)))
        there = {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}
        others = there.keys() - {".gitattributes", ".gitignore", "README.md"}
        marker = there.get(bundle.marker)
        if others and (marker is None or not (self.equal(bundle, marker) or self._is_same(bundle, where))):
            raise BadInput(
                f"The name {bundle.name} is taken by something else on the Hub ({', '.join(sorted(others)[:3])}, ...). "
                "Nothing there was changed. Rename or delete that repository, or choose another --org."
            )
        adds = [path for path in bundle.files if path not in there or not self.equal(bundle, there[path])]
        return adds, sorted(path for path in there if bundle.owns(path) and path not in bundle.files)

    def _is_same(self, bundle: Bundle, where: dict[str, Any]) -> bool:
        from pathlib import Path
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            file = self.retries.ask(self.api.hf_hub_download, filename=bundle.marker, local_dir=folder, **where)
            return bundle.same(Path(file).read_bytes())

    def equal(self, bundle: Bundle, entry: Any) -> bool:
        """Return whether a file of the repository is the one to be sent, without sending or fetching it."""
        if entry.path not in bundle.files or entry.size != bundle.size(entry.path):
            return False
        if entry.lfs:
            return entry.lfs.sha256 == bundle.oid(entry.path, "sha256")
        return entry.blob_id == bundle.oid(entry.path, "sha1")

    def commit(self, bundle: Bundle, head: str, adds: Sequence[str], deletes: Sequence[str], **how: Any) -> CommitInfo:
        """Add and delete files of a bundle's repository by one commit on top of ``head``.

        Args:
            bundle: The repository.
            head: Commit that was looked at; a later one in between is refused.
            adds: Paths of the bundle to send.
            deletes: Paths to delete.
            how: Other arguments of ``create_commit``, such as ``create_pr``.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        # One commit, so that nobody ever loads weights with the card of others.
        return self.api.create_commit(
            bundle.repo_id,
            [
                *(CommitOperationAdd(path, file) for path, file in bundle.files.items() if path in adds),
                *(CommitOperationDelete(path) for path in deletes),
            ],
            repo_type=bundle.kind,
            parent_commit=head,
            **{"commit_message": "Published by mubench", **how},
        )
