"""The demo on this machine: which runs it shows, and its page."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.hub.space import space_folder
from mubench_hf.tasks import list_tasks


def newest_runs(folder: Path) -> Path | None:
    """Return the output folder of ``mubench run``, ``folder`` or one below it, that has the newest result.

    Of a run of several tasks, the folder that holds them all; ``None`` where nothing was run.
    """
    newest: dict[Path, float] = {}
    for results in (place for depth in ("", "*/", "*/*/") for place in folder.glob(f"{depth}results")):
        run = results.parent
        times = [file.stat().st_mtime for file in results.glob("*-original-*.json")]
        if times and (run / "mubench").is_dir():
            home = run.parent if run != folder and run.name in list_tasks() else run
            newest[home] = max(times + [newest.get(home, 0.0)])
    return max(newest, key=newest.__getitem__, default=None)


def check_gradio() -> None:
    """Check that the page can be made, before any long work.

    Raises:
        BadInput: If Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise BadInput("The demo is a Gradio app. Install it with: pip install 'mubench_hf[spaces]'")


def launch(runs: Path, *, browser: bool = True, use_gpu: bool = False) -> None:
    """Serve the demo of some runs until it is interrupted.

    Args:
        runs: Output folder of ``mubench run``.
        browser: Whether to open the page in a browser.
        use_gpu: Whether models run where a trainer would; otherwise on the CPU.
    """
    os.environ["MUBENCH_RUNS"] = str(runs.absolute())
    os.environ["MUBENCH_OPEN"] = "1" if browser else ""
    os.environ["MUBENCH_USE_GPU"] = "1" if use_gpu else ""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    app = space_folder("demo") / "app.py"
    sys.argv = [str(app)]
    runpy.run_path(str(app), run_name="__main__")
