"""Files proposed to a repository of others: a pull request that adds and never replaces."""

from __future__ import annotations

from dataclasses import dataclass

from mubench_hf.errors import BadInput
from mubench_hf.hub import Bundle
from mubench_hf.hub.allowed import CARD
from mubench_hf.hub.publish import Publisher
from mubench_hf.hub.retries import Tries, refusal, transient


@dataclass(frozen=True)
class Proposed:
    """What became of a proposal.

    Attributes:
        outcome: ``proposed``, ``already proposed`` or ``already there``.
        url: Page of the pull request, ``None`` where none was needed.
    """

    outcome: str
    url: str | None = None


def propose(publisher: Publisher, bundle: Bundle, title: str, description: str) -> Proposed:
    """Open a pull request that adds a bundle's files, unless they are there or proposed already.

    Args:
        publisher: Whose token is used; it needs no right to write in the repository.
        bundle: What to add. Its card is added only where there is none.
        title: Title of the pull request, the same for the same files: by it a repeated proposal is recognised.
        description: Text of the pull request.

    Raises:
        BadInput: If there is no token or no such repository, a file is there with other content, or the Hub cannot be
            reached.
    """
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    publisher.owner_of_token()
    tries = Tries(publisher.retries)
    while True:
        try:
            return _propose(publisher, bundle, title, description)
        except RepositoryNotFoundError as error:
            raise BadInput(f"There is no {bundle.name} on the Hub to propose files to. Name another one.") from error
        except transient() as error:
            # Looked up afresh: a pull request whose answer was lost is found by its title.
            try:
                tries.again(error, also=(409, 412))
            except HfHubHTTPError:
                raise refusal(f"No pull request can be opened at {bundle.name}", error) from error
        except OSError as error:
            raise BadInput(f"A file that is proposed to {bundle.name} cannot be read: {error}.") from error


def _propose(publisher: Publisher, bundle: Bundle, title: str, description: str) -> Proposed:
    for path in bundle.files:
        bundle.size(path)  # A file that went away is noticed before anything is asked.
    api, ask, where = publisher.api, publisher.retries.ask, {"repo_id": bundle.repo_id, "repo_type": bundle.kind}
    head = ask(api.repo_info, **where).sha
    tree = ask(lambda: list(api.list_repo_tree(**where, revision=head, recursive=True)))
    there = {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}
    taken = [path for path in bundle.files if path in there and not publisher.equal(bundle, there[path])]
    taken = [path for path in taken if path != CARD]
    if taken:
        raise BadInput(
            f"{bundle.name} has {taken[0]} already, with other content ({len(taken)} such files). A proposal adds "
            "files and replaces none; leave those runs out."
        )
    adds = [path for path in bundle.files if path not in there]
    if not adds:
        return Proposed("already there")
    asked = {**where, "discussion_type": "pull_request", "discussion_status": "open"}
    for found in ask(lambda: list(api.get_repo_discussions(**asked))):
        if found.title == title:
            return Proposed("already proposed", found.url)
    how = {"commit_message": title, "commit_description": description, "create_pr": True}
    return Proposed("proposed", publisher.commit(bundle, head, adds, (), **how).pr_url)
