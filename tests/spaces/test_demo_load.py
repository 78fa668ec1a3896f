"""The demo under 16 clients at once, good and bad input mixed: no crash, no wrong answer, no growing memory."""

import re
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import psutil
import pytest
from PIL import Image

from mubench_hf.demo import DemoRuns

CLIENTS, REQUESTS = 16, 512
METHODS = ["original", "retrain", "neggrad"]


def numbers(html):
    return [float(value) for value in re.findall(r'<data[^>]* value="([^"]+)"', html)]


def memory(process):
    """Return the megabytes that a process and its children hold."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in family) / 2**20


@pytest.fixture
def bad_files(tmp_path):
    """Uploads that are not what they say, or too large."""
    huge, zipped, torn, empty = (tmp_path / name for name in ("huge.png", "zip.png", "torn.png", "empty.png"))
    Image.new("1", (20_000, 20_000)).save(huge)
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a", "b" * 5000)
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(torn)
    torn.write_bytes(torn.read_bytes()[:60])
    empty.write_bytes(b"")
    return [huge, zipped, torn, empty]


@pytest.mark.slow
def test_many_clients_get_right_answers(serve, quick_runs, bad_files, tmp_path, capsys):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    url, process = serve("demo", {"MUBENCH_RUNS": str(quick_runs)})
    bench = DemoRuns.local(quick_runs).bench("cifar100-mini", 5)
    picture = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(picture)
    (field,) = (field.name for field in bench.inputs if field.medium == "image")
    splits = {"Deleted (D_f)": "forget", "Kept (D_r)": "retain", "Never trained on (test)": "test"}
    expected, lock = {}, threading.Lock()

    def wanted(key, make):
        with lock:
            if key not in expected:
                sample = make()
                found = []
                for answer in (bench.answer(method, sample) for method in METHODS):
                    names = sorted(answer.probabilities, key=lambda name: -answer.probabilities[name])[:5]
                    if sample.truth in answer.probabilities and sample.truth not in names:
                        names[-1] = sample.truth
                    found += [answer.probabilities[name] for name in names]
                    found += [] if answer.membership is None else [answer.membership]
                expected[key] = found
            return expected[key]

    blank = [None] * 6
    outcomes, started = [], time.monotonic()

    def one_client(number):
        rng, client = np.random.default_rng(number), Client(url, verbose=False)
        done = []
        for _ in range(REQUESTS // CLIENTS):
            kind = rng.choice(["row", "row", "row", "own", "file", "text", "range", "task", "html"])
            if kind == "row":
                label, row = str(rng.choice(list(splits))), int(rng.integers(1, 51))
                _, html = client.predict("cifar100-mini", 5, METHODS, label, row, api_name="/look")
                right = numbers(html)
                good = wanted((label, row), partial(bench.sample, splits[label], row - 1))
                done.append((kind, len(right) == len(good) and np.allclose(right, good, atol=1e-6)))
            elif kind == "own":
                values = [handle_file(str(picture)), *blank]
                _, html = client.predict("cifar100-mini", 5, METHODS, *values, api_name="/bring")
                good = wanted("own", partial(bench.own, {field: str(picture)}))
                done.append((kind, np.allclose(numbers(html), good, atol=1e-6)))
            elif kind == "file":
                values = [handle_file(str(rng.choice(bad_files))), *blank]
                _, html = client.predict("cifar100-mini", 5, METHODS, *values, api_name="/bring")
                done.append((kind, 'role="alert"' in html and not numbers(html)))
            elif kind in ("text", "html"):
                text = "x" * 2**20 if kind == "text" else "<script>alert(1)</script>"
                values = [None, None, text, None, None, None, None]
                _, html = client.predict("cifar100-mini", 5, METHODS, *values, api_name="/bring")
                done.append((kind, 'role="alert"' in html and "<script" not in html))
            elif kind == "range":
                _, html = client.predict("cifar100-mini", 5, METHODS, "Deleted (D_f)", 10**9, api_name="/look")
                done.append((kind, 'role="alert"' in html))
            else:
                try:
                    client.predict("../../etc", 5, METHODS, "Deleted (D_f)", 1, api_name="/look")
                    done.append((kind, False))
                except AppError:
                    done.append((kind, True))
        return done

    one_client(99)  # Warm-up: models are loaded, the first buffers are there.
    before = memory(process)
    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in pool.map(one_client, range(CLIENTS)):
            outcomes += done
    seconds, after = time.monotonic() - started, memory(process)
    with capsys.disabled():
        print(
            f"\n{len(outcomes)} requests of {CLIENTS} clients in {seconds:.0f} s; "
            f"memory {before:.0f} MB after warm-up, {after:.0f} MB at the end"
        )
    assert process.poll() is None
    assert len(outcomes) == REQUESTS and {kind for kind, right in outcomes if not right} == set()
    assert after - before < 300
