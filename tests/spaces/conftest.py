"""A headless Chromium and the Spaces' apps in child processes, for tests that use a page as a person does."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "test-output" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",  # Root has none; the pages are our own.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever is not on the loopback is not there.
    "--proxy-server=127.0.0.1:9",
    "--proxy-bypass-list=127.0.0.1",
)


@pytest.fixture(scope="session")
def chromium():
    """A running browser; a test that needs it is skipped where there is none, but not in CI."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing = f"none of {', '.join(NAMES)} is installed; on Debian: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(f"CI runs the browser tests, but {missing}")
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a page: ``open_page(url, width=390, dark=True)``. A script error on any of them fails the test."""
    errors = []
    with ExitStack() as contexts:

        def open_page(url: str, width: int = 1440, height: int = 1000, dark: bool = False):
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                accept_downloads=True,
            )
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(url, wait_until="domcontentloaded")
            return page

        yield open_page
    assert not errors


@pytest.fixture
def screenshot():
    """Keeps a picture of a page under ``test-output/screenshots``: ``screenshot(page, "demo-390")``."""

    def screenshot(page, name: str) -> Path:
        file = OUTPUT / f"{name}.png"
        page.screenshot(path=file, full_page=True)
        return file

    return screenshot


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(command, env=None, seconds: float = 60):
    """Run a command that serves a page at ``GRADIO_SERVER_PORT`` for as long as this lasts; yield address and process.

    The process has ``log``, the file that it prints to.
    """
    port = free_port()
    quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    address = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    log = OUTPUT.parent / f"server-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **quiet, "PYTHONPATH": str(ROOT), **address, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        process.log = log
        try:
            wait_for(url, process, seconds)
            yield url, process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(url: str, process: subprocess.Popen, seconds: float) -> None:
    """Wait until ``url`` answers.

    Raises:
        AssertionError: If the process ends or the time is over; with what it printed.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            printed = process.log.read_text(errors="replace")[-3000:]
            assert process.poll() is None, f"It ended with {process.returncode}: {printed}"
            assert time.monotonic() < end, f"No page after {seconds} s: {printed}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def serve():
    """Starts the app of a Space: ``url, process = serve("leaderboard", {"MUBENCH_RESULTS": folder})``."""
    with ExitStack() as running:
        yield lambda space, env=None: running.enter_context(
            serving([sys.executable, ROOT / "spaces" / space / "app.py"], env)
        )


@pytest.fixture(scope="module")
def serve_command():
    """Starts any command that serves a page: ``url, process = serve_command(["mubench", "demo"], env, 300)``."""
    with ExitStack() as running:
        yield lambda command, env=None, seconds=60: running.enter_context(serving(command, env, seconds))


@pytest.fixture(scope="session")
def quick_runs(tmp_path_factory):
    """Output folder of a quick cifar100 mini run."""
    from conftest import quicken

    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.tasks import cifar100

    out, task = tmp_path_factory.mktemp("demo") / "mubench-run", cifar100.TASK
    quicken()
    Pipeline("cifar100", variant="mini", out=out, methods=["finetune", "neggrad"], seeds=[42]).run()
    cifar100.TASK = task
    return out
