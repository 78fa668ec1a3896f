"""SCRUB with the original's outputs computed once, or kept, against the original beside the student."""

from __future__ import annotations

import copy
import tempfile

import torch
import transformers
from _pairs import compare
from transformers import PrinterCallback, ViTConfig, ViTForImageClassification

from mubench_hf.trainers import get_method

ROWS, FORGET = 1000, 50


def main() -> None:
    """Run SCRUB for five epochs each way and compare times and weights."""
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    rows = [{"pixel_values": torch.randn(3, 16, 16), "labels": i % 10} for i in range(ROWS)]
    config = ViTConfig(image_size=16, patch_size=4, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                       intermediate_size=128, num_labels=10)  # fmt: skip
    original = ViTForImageClassification(config)
    scrub = get_method("scrub")

    with tempfile.TemporaryDirectory() as folder:

        def run(**settings: object) -> ViTForImageClassification:
            args = scrub.config_class(
                output_dir=folder, num_train_epochs=5, per_device_train_batch_size=32, cpu_threads=1, use_cpu=True,
                save_strategy="no", logging_strategy="no", disable_tqdm=True, **settings,
            )  # fmt: skip
            model = copy.deepcopy(original)
            trainer = scrub(model, args, forget_dataset=rows[:FORGET], retain_dataset=rows[FORGET:])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            return model

        once, beside = run(), run(cache_teacher_outputs=False)
        for weight, other in zip(once.parameters(), beside.parameters(), strict=True):
            torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-4)
        compare("outputs computed once", run, lambda: run(cache_teacher_outputs=False), pairs=3)
        kept = f"{folder}/kept"
        compare(
            "outputs kept from an earlier run",
            lambda: run(teacher_cache_dir=kept),
            lambda: run(cache_teacher_outputs=False),
            pairs=3,
        )


if __name__ == "__main__":
    main()
