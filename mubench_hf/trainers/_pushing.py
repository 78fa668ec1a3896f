"""``push_to_hub=True``: the finished model goes to the Hub, with a card that says what was forgotten and how."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import TrainOutput

from mubench_hf.errors import BadInput
from mubench_hf.trainers._fitting import Fitting
from mubench_hf.utils.shipped import template

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

SHOWN = ("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size",
         "gradient_accumulation_steps", "seed")  # fmt: skip
"""Arguments of every method that the card shows in addition to the method's own."""


class Pushing(Fitting):
    """Pushes what a run ends with, once: no intermediate states, no optimizer, no pickled arguments."""

    title: ClassVar[str]
    source: ClassVar[str]
    replays_recipe: ClassVar[bool]

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as ``Fitting`` does and, with ``push_to_hub``, push the model."""
        output = super().train(*args, **kwargs)
        if self.args.push_to_hub:
            self.push_to_hub()
        return output

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """Push weights, configuration, processor and card, and nothing else that lies in ``output_dir``.

        The arguments are those of ``Trainer.push_to_hub``; ``kwargs`` go to ``create_model_card``.

        Raises:
            BadInput: If ``blocking`` is false, since the files to send are not kept for later.
        """
        if not blocking:
            raise BadInput("blocking is False; the trainer waits until the model is pushed. Leave it out.")
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        output_dir = self.args.output_dir
        name = (self.args.hub_model_id or Path(output_dir).absolute().name).split("/")[-1]
        with TemporaryDirectory() as folder:
            self.args.output_dir = folder
            try:
                return super().push_to_hub(
                    commit_message, token=token, revision=revision, private=private, **{"model_name": name, **kwargs}
                )
            finally:
                self.args.output_dir = output_dir

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write a card of what the trainer knows: method, settings, numbers of rows, how the run ended.

        Args:
            language: Language of the model.
            license: Its licence.
            tags: Tags in addition to those of the method.
            model_name: Title; default: the folder's name.
            finetuned_from: The original; default: the repository that the model was loaded from.
            tasks: The model's task on the Hub, or several.
            dataset_tags: Data sets on the Hub.
            dataset: Ignored, as the card has no scores.
            dataset_args: Ignored too.
        """
        if not self.is_world_process_zero():
            return
        from huggingface_hub import ModelCardData

        loaded_from = getattr(self.model.config, "_name_or_path", "") or None
        original = finetuned_from or (loaded_from if loaded_from and not Path(loaded_from).exists() else None)
        more, task = ([tags] if isinstance(tags, str) else tags or []), ([tasks] if isinstance(tasks, str) else tasks)
        metadata = ModelCardData(
            base_model=original,
            language=language,
            license=license,
            datasets=dataset_tags,
            library_name=self._library(),
            pipeline_tag=task[0] if task else None,
            tags=list(dict.fromkeys(["machine-unlearning", "mubench", self.method_key(), *more])),
        )
        forget = int(self.rows.is_forget.sum())
        facts = {
            "Method": f"{self.title}, {self.source}",
            "Original": original,
            "Rows": f"{forget:,} to forget, {len(self.rows) - forget:,} to keep",
            "Time": f"{self.unlearn_seconds:.1f} s",
            "Outcome": self.status if self.status_reason is None else f"{self.status}: {self.status_reason}",
        }
        shown = [field.name for field in fields(self.args) if field.name not in TrainingArguments.__dataclass_fields__]
        values = {name: getattr(self.args, name) for name in (*SHOWN, *shown) if name != "teacher_cache_dir"}
        arguments = "\n".join(f"| `{name}` | `{value}` |" for name, value in values.items() if value is not None)
        done = f"made to forget a part of its training rows with {self.title}"
        if self.replays_recipe:
            done = "trained from scratch on the rows to keep"
        card = template("trainer.md").substitute(
            metadata=metadata.to_yaml(),
            name=model_name or Path(self.args.output_dir).name,
            summary=f"A model that was {done}, by `mubench_hf`.",
            facts="\n".join(f"- {what}: {value}" for what, value in facts.items() if value),
            arguments=f"| Argument | Value |\n|---|---|\n{arguments}",
        )
        Path(self.args.output_dir, "README.md").write_text(card, encoding="utf-8")

    def _library(self) -> str:
        """Return the library that loads what was saved."""
        folder = Path(self.args.output_dir)
        if (folder / "adapter_config.json").exists():
            return "peft"
        return "diffusers" if (folder / "model_index.json").exists() else "transformers"

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Send nothing: a saved state holds intermediate weights, and optimizers as pickles."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            # It is a pickle that may hold a token, and nothing reads it.
            Path(output_dir or self.args.output_dir, TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model as ``Trainer`` does; a sharded one always whole, also where its states hold its parts."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        self._save(output_dir or self.args.output_dir, state_dict=self.whole_state())
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)
