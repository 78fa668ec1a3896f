"""Retraining: the model that never saw D_f, every method's gold reference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mubench_hf.models.fresh import renew
from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass


@dataclass
class RetrainConfig(UnlearningConfig):
    """Settings of ``retrain``: the recipe that made the original.

    Args:
        init_from: Pretrained backbone that the original started from; default: random weights.
    """

    init_from: str | None = None


class RetrainTrainer(UnlearningTrainer):
    """Trains on D_r alone from a fresh initialisation drawn from the run's seed.

    Without a deletion set it trains on all rows, which is how an original is made.

    Frozen weights are kept, as a backbone that was trained on other rows: a retrained model has forgotten D_f only if
    they never saw it. So a model with adapters is a gold reference only if its base did not see D_f.
    """

    key = "retrain"
    aliases = ("exact", "gold")
    config_class = RetrainConfig
    title = "Retrain"
    measurement, corruption, retention = "loss", "none", "labels, from scratch"
    source = "the reference of every paper"
    needs_forget = False
    replays_recipe = True

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one pass over D_r."""
        return (Pass("retain"),)

    def prepare(self) -> None:
        """Put fresh values into all weights that are trained, which forget everything; frozen weights stay.

        Raises:
            BadInput: If they have no fresh values, see ``renew``.
        """
        renew(self.model, self.args.seed, self.args.init_from)

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of the batch's D_r rows."""
        return batch.retain_mean(batch.losses())
