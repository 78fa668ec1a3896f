"""NPO: make the truth of D_f less likely than the original makes it, with a pull that fades as it does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from mubench_hf.trainers import Batch, Pass, UnlearningConfig, UnlearningTrainer, over_batch


@dataclass
class NPOConfig(UnlearningConfig):
    """Settings of ``npo``.

    Args:
        beta: How soon the pull on a row fades, above 0.
    """

    beta: float = 0.1


def npo_loss(log_ratios: Tensor, beta: float) -> Tensor:
    """Return ``-2/beta log sigmoid(-beta log_ratio)`` of each D_f row: ``[rows]``, at least 0.

    Source: arXiv 2404.05868, eq. 3. ``log_ratios`` are those of a row's target, student over original.
    """
    return -2 / beta * logsigmoid(-beta * log_ratios)


class NPOTrainer(UnlearningTrainer):
    """Minimises the preference for what the original says of D_f."""

    key = "npo"
    config_class = NPOConfig
    title = "NPO"
    measurement, corruption, retention = "likelihood", "negated preference", "none"
    source = "arXiv 2404.05868"
    kinds = ("causal_lm", "classification", "seq2seq")

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one pass over D_f."""
        return (Pass("forget"),)

    def prepare(self) -> None:
        """Make the teacher."""
        self.teacher = self.original_teacher(self.rows.is_forget)

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of the batch's D_f rows."""
        log_ratios = batch.log_likelihoods() - batch.log_likelihoods(self.teacher)
        return batch.forget_mean(npo_loss(log_ratios, self.args.beta))
