"""Settings that every unlearning method shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from mubench_hf.errors import BadInput


@dataclass
class UnlearningConfig(TrainingArguments):
    """``TrainingArguments`` with the few settings that unlearning adds, and defaults that let a run resume.

    A method's own config extends this one; every flag works on the command line.
    """

    output_dir: str = field(default="unlearned", metadata={"help": "Folder of the checkpoint."})
    save_strategy: str = field(
        default="epoch", metadata={"help": "When to save a state that a killed run resumes from."}
    )
    save_total_limit: int | None = field(default=1, metadata={"help": "Number of such states to keep."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When to log the method's loss."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Left off: rows are prepared when read, and other columns are dropped then."}
    )
    cpu_threads: int | None = field(
        default=None,
        metadata={"help": "Threads for work on a CPU; default: the usable cores, shared among its processes."},
    )
    max_abs_loss: float = field(
        default=1e3, metadata={"help": "A loss beyond this, or not finite, stops the run as diverged."}
    )
    cache_teacher_outputs: bool = field(
        default=True,
        metadata={
            "help": "Compute the original's outputs once, for all rows. Turn off where preparation is random or a "
            "method reads few rows of a large set: the original then runs beside the student."
        },
    )
    teacher_cache_dir: str | None = field(
        default=None,
        metadata={"help": "Folder, of one data set and preparation, that keeps these outputs for later runs."},
    )

    def __post_init__(self) -> None:
        """Check what ``TrainingArguments`` does not.

        Raises:
            BadInput: If saved states are to be pushed.
        """
        super().__post_init__()
        if self.push_to_hub and self.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            raise BadInput(
                f"hub_strategy is {self.hub_strategy.value!r}; states to resume from hold pickles and are never "
                "pushed. Leave it out: the finished model is pushed."
            )
