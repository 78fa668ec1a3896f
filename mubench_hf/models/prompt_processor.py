"""Prepares rows for a text-to-image model: a prompt's tokens and an image's pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mubench_hf.models.text_to_image import pipeline_folder, published_size
from mubench_hf.utils.json_files import read_object

IMAGE_SIZE, LARGEST_IMAGE = "preprocessor_config.json", 4096
"""File with the images' size, and the largest."""


class PromptProcessor:
    """A tokenizer and an image size; saved beside a pipeline's other parts.

    Args:
        tokenizer: Makes a prompt's tokens, padded to its ``model_max_length``.
        image_size: Width and height to which images are resized, in pixels.
    """

    do_resize = do_rescale = do_normalize = True
    resample, rescale_factor = 3, 1 / 255
    image_mean = image_std = (0.5, 0.5, 0.5)
    """What is done to an image, under the names of the settings of an image processor."""

    def __init__(self, tokenizer: Any, image_size: int):
        self.tokenizer, self.image_size = tokenizer, image_size

    @property
    def size(self) -> dict[str, int]:
        """Height and width of an image, likewise."""
        return {"height": self.image_size, "width": self.image_size}

    def __call__(self, prompt: str, image: Any) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` int64 ``[tokens]`` and ``pixel_values`` float32 ``[3, size, size]`` in [-1, 1].

        Without ``do_resize`` images stay as large as they are, and without ``do_rescale`` pixels are uint8.
        """
        from PIL import Image

        image = image.convert("RGB")
        if self.do_resize and image.size != (self.image_size, self.image_size):
            image = image.resize((self.image_size, self.image_size), Image.Resampling(self.resample))
        values = np.asarray(image, dtype=np.float32) / 127.5 - 1 if self.do_rescale else np.array(image)
        pixels = torch.from_numpy(values).permute(2, 0, 1).contiguous()
        tokens = self.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
        return {"input_ids": tokens["input_ids"][0], "pixel_values": pixels}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer into ``tokenizer`` and the image size beside it."""
        self.tokenizer.save_pretrained(Path(folder, "tokenizer"))
        text = json.dumps({"image_size": self.image_size}, indent=2) + "\n"
        Path(folder, IMAGE_SIZE).write_text(text, encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls, name: str | Path, revision: str | None = None, image_size: int | None = None, **_: Any
    ) -> PromptProcessor:
        """Load the processor of a pipeline from a folder or a Hub repository.

        Args:
            name: Folder or Hub id.
            revision: Commit on the Hub.
            image_size: Width and height to resize to, in pixels; default: as saved, else what the pipeline draws.

        Raises:
            OSError: If there is none.
        """
        from transformers import AutoTokenizer

        folder = pipeline_folder(name, revision)
        if image_size is None and Path(folder, IMAGE_SIZE).is_file():
            image_size = read_object(folder / IMAGE_SIZE)["image_size"]
        size = published_size(folder) if image_size is None else image_size
        if type(size) is not int or not 0 < size <= LARGEST_IMAGE:
            raise ValueError(f"its images have {size!r} pixels a side; allowed: 1 to {LARGEST_IMAGE}")
        return cls(AutoTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=False), size)
