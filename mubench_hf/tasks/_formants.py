"""Words spoken by formants: half a second of sound from a few numbers per phone, with the same bytes on every machine.

Random numbers are integers, oscillators read an integer table, everything else is elementwise arithmetic, and samples
are rounded to 8 bits, so that the last bit of a float, in which processors differ, does not matter.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

SAMPLING_RATE = 16_000
SAMPLES = 8_000
HARMONICS = 24
FRAME = 80
"""Samples for which the resonances stay the same."""

# Three resonances in Hz, loudness of the voice, of hiss (high) and of breath (flat), and length in units of 10 ms.
PHONES = {
    "a": (730, 1150, 2450, 1.0, 0.0, 0.0, 11),
    "e": (550, 1850, 2500, 1.0, 0.0, 0.0, 10),
    "i": (300, 2250, 2950, 0.9, 0.0, 0.0, 8),
    "o": (520, 880, 2450, 1.0, 0.0, 0.0, 10),
    "u": (340, 900, 2300, 0.9, 0.0, 0.0, 8),
    "V": (640, 1250, 2500, 1.0, 0.0, 0.0, 9),
    "j": (280, 2250, 3000, 0.6, 0.0, 0.0, 5),
    "w": (300, 650, 2300, 0.6, 0.0, 0.0, 6),
    "l": (360, 1250, 2750, 0.6, 0.0, 0.0, 6),
    "r": (320, 1100, 1500, 0.6, 0.0, 0.0, 6),
    "n": (260, 1350, 2300, 0.6, 0.0, 0.0, 9),
    "m": (250, 1000, 2200, 0.4, 0.0, 0.0, 8),
    "s": (300, 1700, 2600, 0.0, 0.8, 0.0, 11),
    "f": (300, 1200, 2300, 0.0, 0.0, 0.5, 11),
    "v": (300, 1200, 2300, 0.3, 0.0, 0.08, 6),
    "z": (300, 1700, 2600, 0.3, 0.2, 0.0, 8),
    "h": (500, 1500, 2500, 0.0, 0.0, 0.4, 6),
    "b": (250, 800, 2200, 0.2, 0.0, 0.05, 4),
    "d": (250, 1700, 2600, 0.2, 0.2, 0.1, 5),
    "g": (250, 2000, 2300, 0.2, 0.0, 0.4, 5),
    "k": (300, 2000, 2300, 0.0, 0.1, 0.6, 5),
    "p": (300, 800, 2200, 0.0, 0.0, 0.3, 5),
    "t": (300, 1750, 2600, 0.0, 0.7, 0.2, 5),
    "-": (400, 1400, 2500, 0.0, 0.0, 0.0, 4),
}
WIDTHS = (90, 130, 190)
TABLE = np.round(np.sin(np.arange(4096) * (2 * np.pi / 4096)) * 32767).astype(np.int64)


def speak(phones: str, rng: np.random.RandomState, *, pitch: int, size: int, tempo: int, noise: int) -> np.ndarray:
    """Say a word, or nothing, once; no two takes are the same.

    Args:
        phones: Keys of ``PHONES``, one character each; none makes background noise.
        rng: Draws what differs between takes.
        pitch: The speaker's pitch in Hz.
        size: The speaker's resonances in percent of the table's.
        tempo: The speaker's lengths in percent of the table's.
        noise: Loudest background noise, of 127.

    Returns:
        uint8 samples around 128, shape ``[8000]``, 16,000 per second.
    """
    noises = rng.randint(-noise, noise + 1, SAMPLES)
    if not phones:
        return (128 + noises).astype(np.uint8)
    table = np.array([PHONES["-"], *(PHONES[phone] for phone in phones), PHONES["-"]], dtype=np.float64)
    table[:, :3] *= size * rng.randint(96, 105, (len(table), 3)) / 10_000
    lengths = table[:, 6] * tempo * rng.randint(85, 116, len(table)) / 10_000
    lengths[0] = rng.randint(0, 60) / 10
    # The track reaches each phone a third into it and leaves it a third before its end.
    ends = np.cumsum(lengths)
    times = np.stack([ends - lengths * 2 / 3, ends - lengths / 3], 1).ravel() * SAMPLING_RATE
    frames = np.arange(SAMPLES // FRAME + 1) * FRAME
    tracks = [np.interp(frames, times / 100, column.repeat(2)) for column in table[:, :6].T]
    loudness = rng.randint(35, 76)
    voice = _voice(tracks, pitch * rng.randint(90, 111) // 100)
    white = rng.randint(-128, 128, SAMPLES + 1) / 128
    hiss = (white[1:] - white[:-1]) * _per_sample(tracks[4]) + white[1:] * _per_sample(tracks[5])
    samples = np.round((voice + hiss) * loudness) + noises
    return (128 + np.clip(samples, -127, 127)).astype(np.uint8)


def _voice(tracks: list[np.ndarray], pitch: int) -> np.ndarray:
    """Add up harmonics, each as loud as the resonances near it let it be."""
    fall = np.arange(SAMPLES) * (pitch * 2**20 // SAMPLING_RATE // 5) // SAMPLES
    phase = np.cumsum(pitch * 2**20 // SAMPLING_RATE - fall)
    voice = np.zeros(SAMPLES)
    for harmonic in range(1, HARMONICS + 1):
        gain = 0.0
        for resonance, width, weight in zip(tracks[:3], WIDTHS, (1.0, 0.6, 0.3), strict=True):
            off = (resonance - harmonic * pitch) / width
            gain = gain + weight / (1 + off * off)
        voice += _per_sample(gain * tracks[3]) * TABLE[(harmonic * phase >> 8) & 4095]
    return voice / 32767


def _per_sample(track: np.ndarray) -> np.ndarray:
    """Interpolate linearly between a track's frames."""
    steps = np.arange(FRAME) / FRAME
    return (track[:-1, None] + (track[1:] - track[:-1])[:, None] * steps).ravel()


def wav_bytes(samples: np.ndarray) -> bytes:
    """Return uint8 samples as a WAV file of 8 bits, 16 kHz and one channel."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(SAMPLING_RATE)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def recordings(
    words: Mapping[str, Sequence[str]], rng: np.random.RandomState, *, speakers: int, takes: int
) -> Iterator[tuple[str, bytes, int, int]]:
    """Let invented speakers say every word.

    Args:
        words: Label → phones that it may sound like, of which each take draws one.
        rng: Draws the speakers and what differs between their takes.
        speakers: How many new speakers.
        takes: How often each speaker says each word.

    Yields:
        Label, WAV file, number of the speaker and number of the take.
    """
    for speaker in range(speakers):
        voice = {"pitch": rng.randint(100, 161), "size": rng.randint(92, 109), "tempo": rng.randint(85, 116)}
        for label, sounds in words.items():
            for take in range(takes):
                phones = sounds[rng.randint(len(sounds))]
                yield label, wav_bytes(speak(phones, rng, **voice, noise=rng.randint(1, 5))), speaker, take
