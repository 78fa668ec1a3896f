"""Space that computes `unlearning_score` from inputs typed as JSON."""

import json
from pathlib import Path

import evaluate
import gradio as gr
from evaluate.utils import parse_readme

FOLDER = Path(__file__).parent
EXAMPLE = """{"test_score": [0.86], "forget_score": [0.12], "original_test_score": [0.9], "chance": [0.1]}"""

metric = evaluate.load(str(FOLDER / "unlearning_score.py"))


def compute(inputs: str) -> dict:
    try:
        return metric.compute(**json.loads(inputs))
    except (TypeError, ValueError) as error:  # shown to the visitor in place of a stack trace
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    fn=compute,
    inputs=gr.Code(EXAMPLE, language="json", label="Inputs"),
    outputs=gr.JSON(label="Result"),
    title="unlearning_score",
    description=metric.description,
    article=parse_readme(FOLDER / "README.md"),
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
