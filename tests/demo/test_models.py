"""Models in memory: loaded once, bounded in number and bytes, in eval mode."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from mubench_hf.demo.models import ModelCache, working


def linear(size=10):
    return torch.nn.Linear(size, 1, bias=False).train()


def test_a_model_is_loaded_once_whoever_asks():
    loads, cache, start = [], ModelCache(), threading.Barrier(8)

    def load():
        loads.append(1)
        time.sleep(0.05)  # Long enough for all to ask meanwhile.
        return linear()

    def ask(_):
        start.wait()
        return cache.get("one", load)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(loads) == 1 and all(model is found[0] for model in found)
    assert not found[0].training and not found[0].weight.requires_grad


def test_the_one_used_longest_ago_goes():
    cache, loads = ModelCache(most=2), []

    def get(key):
        return cache.get(key, lambda: loads.append(key) or linear())

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert loads == ["a", "b", "c", "b"] and len(cache) == 2


def test_bytes_are_bounded():
    cache = ModelCache(most_bytes=4 * 25)
    for key in "abc":
        cache.get(key, linear)
    assert len(cache) == 2, "two of 40 bytes fit into 100, three do not"
    cache.get("large", lambda: linear(1000))
    assert len(cache) == 1, "one is always kept"


def test_threads_are_those_of_the_run_and_restored():
    before = torch.get_num_threads()
    with working(before + 1):
        assert torch.get_num_threads() == before + 1
    with working(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
