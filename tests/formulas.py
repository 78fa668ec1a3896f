"""What losses are made of, in float64 NumPy and SciPy: arrays ``[..., classes]`` in, ``[...]`` out."""

import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import entropy


def log_likelihood(logits, labels):
    """Return the log-probability of each label, in nats."""
    found = log_softmax(np.asarray(logits, dtype=float), axis=-1)
    return np.take_along_axis(found, np.asarray(labels)[..., None], axis=-1)[..., 0]


def cross_entropy(logits, labels):
    """Return the negated log-probability of each label, in nats."""
    return -log_likelihood(logits, labels)


def kl(teacher, student, temperature=1.0):
    """Return T² KL(teacher || student) of distributions at a temperature, in nats."""
    p, q = (softmax(np.asarray(logits, dtype=float) / temperature, axis=-1) for logits in (teacher, student))
    return temperature**2 * entropy(p, q, axis=-1)
