"""``--push_to_hub true``: a finished run's checkpoint goes to the Hub, just as ``mubench publish model`` sends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mubench_hf.errors import BadInput
from mubench_hf.runs.record import RunId
from mubench_hf.trainers import UnlearningConfig

if TYPE_CHECKING:
    from mubench_hf.hub.publish import Publisher


@dataclass(frozen=True)
class Push:
    """A push that was asked for.

    Attributes:
        publisher: Sends it; ``None`` in all processes of a run but the first.
        org: Organisation on the Hub.
    """

    publisher: Publisher | None
    org: str

    def send(self, checkpoint: str, out: str, ratio: int | None = None) -> None:
        """Publish a run that is finished and evaluated, and print what became of it.

        Args:
            checkpoint: Folder of the run.
            out: Folder with its results.
            ratio: For an original: the deletion ratio whose scores are published; default: the source's own.

        Raises:
            BadInput: If it cannot be published.
        """
        if self.publisher is None:
            return
        from mubench_hf.hub import model_bundle

        bundle = model_bundle(checkpoint, out=out, org=self.org, ratio=ratio)
        self.publisher.publish(
            [bundle], lambda done: print(f"{done.bundle.name}: {done.outcome}, revision {done.revision}", flush=True)
        )


def requested_push(args: UnlearningConfig, run: RunId, evaluated: bool = True) -> Push | None:
    """Return the push that a run's settings ask for, after checking, before any work, that it is possible.

    Args:
        args: Settings of the run; ``push_to_hub`` is switched off in them, because the trainer knows no scores.
        run: The run.
        evaluated: Whether the run is evaluated.

    Returns:
        The push; ``None`` if none was asked for, or another process does it.

    Raises:
        BadInput: If the settings name a branch or another repository than the run's, the run is not evaluated, or the
            token has no right to write.
    """
    if not args.push_to_hub:
        return None
    args.push_to_hub = False
    if not evaluated:
        raise BadInput("A run is pushed with its scores. Leave out --evaluate false, or leave out --push_to_hub.")
    if args.hub_revision:
        raise BadInput(f"hub_revision is {args.hub_revision!r}; runs are published on the main branch. Leave it out.")
    org, _, name = (args.hub_model_id or f"mubench/{run.checkpoint_name}").rpartition("/")
    if name != run.checkpoint_name or not org:
        raise BadInput(
            f"hub_model_id is {args.hub_model_id!r}; a run's repository is named after it. "
            f"Allowed: ORG/{run.checkpoint_name}, where ORG is an organisation or a user."
        )
    if args.process_index:
        return Push(None, org)
    from mubench_hf.hub.publish import Publisher  # Imported late, so that runs that are not pushed start sooner.

    publisher = Publisher(token=args.hub_token, private=args.hub_private_repo)
    publisher.check_right(org)
    return Push(publisher, org)
