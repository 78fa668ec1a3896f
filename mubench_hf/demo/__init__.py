"""What the demo shows: rows, one's own input, and what the models of finished runs say of them. No gradio here."""

from mubench_hf.demo.answers import Answer
from mubench_hf.demo.bench import Bench
from mubench_hf.demo.rows import Field, Sample, Shown
from mubench_hf.demo.runs import DemoRuns

__all__ = ["Answer", "Bench", "DemoRuns", "Field", "Sample", "Shown"]
