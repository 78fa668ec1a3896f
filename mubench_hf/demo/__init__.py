"""What the demo shows: rows, one's own input, and what the models of finished runs say of them. No gradio here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mubench_hf.demo.answers import Answer as Answer
    from mubench_hf.demo.bench import Bench as Bench
    from mubench_hf.demo.rows import Field as Field
    from mubench_hf.demo.rows import Sample as Sample
    from mubench_hf.demo.rows import Shown as Shown
    from mubench_hf.demo.runs import DemoRuns as DemoRuns
else:
    from mubench_hf.utils.lazy import lazy_exports

    # To open the page, or to refuse a flag, takes none of it.
    __getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
