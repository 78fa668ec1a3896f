"""Every method on LoRA over a Llama-shaped model in bf16 with gradient checkpointing: two steps, moved, peak memory.

The model has random weights, so nothing is fetched. Without a GPU, `--tiny` runs the same code on a small one.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from mubench_hf.trainers import get_method, list_methods

SIZES = {
    "1b": {"vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
           "num_attention_heads": 32, "num_key_value_heads": 4},
    "tiny": {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1},
}  # fmt: skip


def adapted(size: str, device: str) -> torch.nn.Module:
    """Return a model in bf16 with a fresh adapter on all projections, the same each time."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**SIZES[size], use_cache=False, pad_token_id=0))
    finally:
        torch.set_default_dtype(torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return get_peft_model(model, LoraConfig(r=8, target_modules=targets, task_type="CAUSAL_LM"))


def token_rows(count: int, length: int, tokens: int, seed: int) -> list[dict]:
    """Return texts of random tokens whose second half is to be predicted."""
    ids = torch.randint(1, tokens, (count, length), generator=torch.Generator().manual_seed(seed)).tolist()
    half = length // 2
    return [{"input_ids": row, "attention_mask": [1] * length, "labels": [-100] * half + row[half:]} for row in ids]


def run(method: str, size: str, length: int) -> dict[str, object]:
    """Take two steps of a method and return what came of them."""
    cuda = torch.cuda.is_available()
    model = adapted(size, "cuda" if cuda else "cpu")
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    before = {name: weight.detach().clone() for name, weight in trained.items()}
    kept = [weight for weight in model.parameters() if not weight.requires_grad]
    sums = [weight.double().sum().item() for weight in kept]
    trainer_class = get_method(method)
    with tempfile.TemporaryDirectory() as folder:
        args = trainer_class.config_class(
            folder, max_steps=2, per_device_train_batch_size=4, learning_rate=1e-3, gradient_checkpointing=True,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, use_cpu=not cuda,
            lr_scheduler_type="constant",
        )  # fmt: skip
        tokens = SIZES[size]["vocab_size"]
        trainer = trainer_class(
            model,
            args,
            forget_dataset=token_rows(4, length, tokens, 1),
            retain_dataset=token_rows(8, length, tokens, 2),
        )
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    return {
        "method": method,
        "status": trainer.status,
        "finite": all(weight.isfinite().all().item() for weight in model.parameters()),
        "moved": sum(not weight.equal(before[name]) for name, weight in trained.items()),
        "adapters": len(trained),
        "base kept": sums == [weight.double().sum().item() for weight in kept],
        "seconds": round(seconds, 1),
        "peak GiB": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
        "weights": sum(weight.numel() for weight in model.parameters()),
    }


def main() -> None:
    """Run every method and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--length", type=int, default=512)
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        print("Skipped: a model of about 1 B weights needs a GPU, and torch sees none. Use --tiny for the same code.")
        return
    found = []
    for method in list_methods():
        found.append(run(method, "tiny" if given.tiny else "1b", min(given.length, 16) if given.tiny else given.length))
        torch.cuda.empty_cache()
    columns = list(found[0])
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in found:
        print("| " + " | ".join(str(row[name]) for name in columns) + " |", flush=True)


if __name__ == "__main__":
    main()
