"""Space that computes `average_gap` from inputs typed as JSON."""

import json
from pathlib import Path

import evaluate
import gradio as gr
from evaluate.utils import parse_readme

FOLDER = Path(__file__).parent
EXAMPLE = """{
    "forget_score": [0.72], "retain_score": [0.98], "test_score": [0.70], "mia_confidence_svc": [0.55],
    "retrain_forget_score": [0.70], "retrain_retain_score": [1.0], "retrain_test_score": [0.71],
    "retrain_mia_confidence_svc": [0.50]
}"""

metric = evaluate.load(str(FOLDER / "average_gap.py"))


def compute(inputs: str) -> dict:
    try:
        return metric.compute(**json.loads(inputs))
    except (TypeError, ValueError) as error:  # shown to the visitor in place of a stack trace
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    fn=compute,
    inputs=gr.Code(EXAMPLE, language="json", label="Inputs"),
    outputs=gr.JSON(label="Result"),
    title="average_gap",
    description=metric.description,
    article=parse_readme(FOLDER / "README.md"),
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
