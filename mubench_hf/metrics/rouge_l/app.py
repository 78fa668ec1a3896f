"""Space that computes `rouge_l` from inputs typed as JSON."""

import json
from pathlib import Path

import evaluate
import gradio as gr
from evaluate.utils import parse_readme

FOLDER = Path(__file__).parent
EXAMPLE = """{"predictions": ["the cat sat on a mat"], "references": ["the cat lay on the mat"]}"""

metric = evaluate.load(str(FOLDER / "rouge_l.py"))


def compute(inputs: str) -> dict:
    try:
        return metric.compute(**json.loads(inputs))
    except (TypeError, ValueError) as error:  # shown to the visitor in place of a stack trace
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    fn=compute,
    inputs=gr.Code(EXAMPLE, language="json", label="Inputs"),
    outputs=gr.JSON(label="Result"),
    title="rouge_l",
    description=metric.description,
    article=parse_readme(FOLDER / "README.md"),
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
