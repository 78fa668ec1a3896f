"""`mubench demo` as a command: it serves the newest run below the folder it is called in."""

import sys

import pytest


@pytest.mark.slow
def test_the_command_opens_the_newest_run(serve_command, quick_runs, open_page, monkeypatch):
    monkeypatch.chdir(quick_runs.parent)
    url, process = serve_command([sys.executable, "-m", "mubench_hf.cli", "demo", "--no_browser"])
    page = open_page(url)
    page.locator(".mu-sentence").wait_for()
    assert "CIFAR-100-mini (not CIFAR-100)" in page.content()
    assert process.poll() is None
    assert not (quick_runs.parent / "mubench-run" / "mubench-run").exists()
