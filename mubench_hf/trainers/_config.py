"""Settings that every unlearning method shares."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from transformers import TrainingArguments

from mubench_hf.errors import BadInput
from mubench_hf.trainers._arguments import ARGUMENTS, check_arguments
from mubench_hf.trainers._conflicts import check_after, check_before
from mubench_hf.trainers._documented import Documented
from mubench_hf.trainers._identity import MINUTES, selects
from mubench_hf.trainers._settings import MOST_PROCESSES, check_settings, setting


@dataclass
class UnlearningConfig(Documented, TrainingArguments):
    """``TrainingArguments`` with the few settings that unlearning adds, and defaults that let a run resume.

    A method's own config extends this one and documents its settings as this one does; every flag works on the command
    line.

    Args:
        output_dir: Folder of the checkpoint.
        save_strategy: When to save a state that a killed run resumes from: as in Trainer, or minutes, which means steps
            if save_steps is given, and epoch where evaluation chooses the weights.
        save_minutes: With save_strategy minutes: least minutes between two such states, and before the first.
        save_total_limit: Number of such states to keep.
        logging_strategy: When to log the method's loss.
        remove_unused_columns: Give a data_collator of your own only the columns that the model takes, in training and
            evaluation; by default it is given all. The collators of transformers are never given others.
        cpu_threads: Threads for work on a CPU; default: the usable cores, shared among its processes.
        max_abs_loss: A loss beyond this, or not finite, stops the run as diverged.
        cache_teacher_outputs: Compute the original's outputs once, for all rows. Turn this off if preparation is random
            or a method reads few rows of a large set; the original then runs beside the student.
        teacher_cache_dir: Folder that keeps these outputs for later runs on the same rows, prepared the same way.
    """

    output_dir: str = "unlearned"
    save_strategy: str = MINUTES
    save_minutes: float = setting(10.0, above=0)
    save_total_limit: int | None = 1
    logging_strategy: str = "epoch"
    remove_unused_columns: bool = False
    cpu_threads: int | None = setting(None, least=1, most=MOST_PROCESSES)
    max_abs_loss: float = setting(1e3, above=0, finite=False)
    cache_teacher_outputs: bool = True
    teacher_cache_dir: str | None = None

    def __post_init__(self) -> None:
        """Check what ``TrainingArguments`` does not.

        Raises:
            BadInput: If the class is not a dataclass, or a value is not allowed or would have no effect.
        """
        config = type(self)
        own = {*inspect.get_annotations(config), *set(vars(config)) & set(self.__dataclass_fields__)}
        if "__dataclass_fields__" not in vars(config) and own:
            raise BadInput(
                f"{config.__name__} declares {', '.join(sorted(own))} and is no dataclass, so none of them would be "
                "read. Put @dataclass above it."
            )
        self._check_values()
        check_before(self)
        by_minutes = self._settle_saving()
        super().__post_init__()
        if by_minutes:
            self.save_strategy = MINUTES
        check_after(self)

    def _settle_saving(self) -> bool:
        """Return whether states are saved by minutes, which ``TrainingArguments`` does not know."""
        if self.save_strategy != MINUTES:
            return False
        if self.save_steps != TrainingArguments.__dataclass_fields__["save_steps"].default:
            self.save_strategy = "steps"
        elif selects(self):
            self.save_strategy = "epoch"
        else:
            self.save_strategy = "no"
            return True
        return False

    def check(self) -> None:
        """Check again what may have been changed since.

        Raises:
            BadInput: If a value is not allowed or would have no effect.
        """
        self._check_values()
        check_before(self)
        check_after(self)

    def _check_values(self) -> None:
        check_settings(self, ARGUMENTS)
        check_arguments(self)
