"""What a person has: a table of texts, and a small model."""

from __future__ import annotations

import csv


def write_reviews(folder, draw):
    """Write `reviews.csv`: 200 rows of random words with a class, and a city that no model reads. Return the rows."""
    words = ["".join(draw.choices("abcdefghij", k=5)) for _ in range(80)]
    rows = [
        {
            "text": f"{' '.join(draw.choices(words, k=6))} number {number}",
            "mood": draw.choice(["sad", "glad"]),
            "city": draw.choice(["Oslo", "Rome", "Bern"]),
        }
        for number in range(200)
    ]
    with (folder / "reviews.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "mood", "city"])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def save_bert(folder, rows, **fields):
    """Write a small BERT, as `save_pretrained` does, and its tokenizer. Return the folder's name."""
    from transformers import BertConfig, BertForSequenceClassification

    from mubench_hf.models.architectures.text import tiny_tokenizer

    tokenizer = tiny_tokenizer([row["text"] for row in rows])
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), **{"max_position_embeddings": 128, **sizes, **fields})
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder.name
