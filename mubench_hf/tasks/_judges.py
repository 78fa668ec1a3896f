"""Fixed classifiers that judge generated images: what they show, and by which features they are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Judge = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Images, float32 ``[images, 3, height, width]`` in [0, 1] → float32 logits ``[images, classes]`` and features."""

CLIP = "openai/clip-vit-large-patch14"
CLIP_REVISION = "32bd64288804d66eefd0ccbe215aa642df71cc41"
"""The smaller ViT-B/32 has no weights as safetensors."""

CLIP_BATCH = 64


def pixel_judge(train: Any, label_names: tuple[str, ...]) -> Judge:
    """Return a logistic regression on the grey pixels of the real train images; the pixels are the features.

    Args:
        train: Prepared train rows with ``pixel_values`` in [-1, 1] and a ``labels`` array.
        label_names: Class names.
    """
    from sklearn.linear_model import LogisticRegression

    images = np.stack([(train[row]["pixel_values"].numpy() + 1) / 2 for row in range(len(train))])
    classifier = LogisticRegression(C=1.0, max_iter=2000).fit(_grey(images), train.labels)

    def judge(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = _grey(images)
        found = classifier.predict_log_proba(features)
        # A class without train images is never seen.
        logits = np.full((len(images), len(label_names)), found.min() - 1, dtype=np.float32)
        logits[:, classifier.classes_] = found
        return logits, features

    return judge


def clip_judge(train: Any, label_names: tuple[str, ...]) -> Judge:
    """Return CLIP (arXiv 2103.00020), which picks the class whose name fits best; image embeddings are the features.

    Args:
        train: Not read: CLIP knows the classes by their names.
        label_names: Class names.
    """
    return ClipJudge(label_names)


class ClipJudge:
    """Judges images by CLIP, see ``clip_judge``. It has embedded the names once.

    Args:
        label_names: Class names.
    """

    def __init__(self, label_names: tuple[str, ...]):
        import torch
        from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

        pinned = {"revision": CLIP_REVISION, "trust_remote_code": False}
        self.model = CLIPModel.from_pretrained(CLIP, use_safetensors=True, **pinned).eval()
        self.processor = CLIPImageProcessorPil.from_pretrained(CLIP, **pinned)
        prompts = AutoTokenizer.from_pretrained(CLIP, **pinned)(
            [f"a photo of a {name}" for name in label_names], padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            self.names = _unit(self.model.get_text_features(**prompts))

    def to(self, device: Any) -> ClipJudge:
        """Move the model to a device, and return the judge."""
        self.model, self.names = self.model.to(device), self.names.to(device)
        return self

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and features of images, see ``Judge``."""
        import torch

        logits, features = [], []
        with torch.inference_mode():
            for batch in np.split(images, range(CLIP_BATCH, len(images), CLIP_BATCH)):
                pixels = self.processor(
                    list(batch), do_rescale=False, input_data_format="channels_first", return_tensors="pt"
                )["pixel_values"]
                found = _unit(self.model.get_image_features(pixel_values=pixels.to(self.names.device)))
                logits.append((found @ self.names.T * self.model.logit_scale.exp()).cpu().numpy())
                features.append(found.cpu().numpy())
        return np.concatenate(logits), np.concatenate(features)


def _unit(features: Any) -> Any:
    """Return CLIP's features of unit length, from what it returns of an image or a text."""
    found = getattr(features, "pooler_output", features)
    return found / found.norm(dim=-1, keepdim=True)


def _grey(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=1).reshape(len(images), -1).astype(np.float32)
