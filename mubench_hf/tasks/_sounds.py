"""Sound files as bytes or paths: reads samples from any format that libsndfile knows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mubench_hf.errors import BadInput


def read_sound(source: bytes | str | Path) -> tuple[np.ndarray, int]:
    """Decode a sound to its end.

    Args:
        source: The encoded sound, or the path of its file.

    Returns:
        float32 samples in [-1, 1], shape ``[samples, channels]``, and their number per second.

    Raises:
        ValueError: If it is not a sound that libsndfile reads, or has no samples.
        BadInput: If soundfile is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package without its library.
        raise BadInput(f"Reading sound needs soundfile ({error}). Run: pip install 'mubench_hf[audio]'") from error
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise ValueError(str(error)) from error
    if not len(sound):
        raise ValueError("no samples")
    return sound, rate
