"""Read the tutorial's page as steps, for its test and for the notebook with the same content.

A block marked `console` holds one command behind `$ ` and what it prints; a block marked `python`
is code. All else is text.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A piece of the page: text, a command with its output, or Python."""

    kind: Literal["text", "console", "python"]
    source: str
    """The text, the command in one line, or the code."""
    output: str = ""
    """What the command prints, as the page shows it."""


def read_steps(page: Path) -> list[Step]:
    """Return the steps of a page in their order."""
    pieces = _BLOCK.split(page.read_text("utf-8"))
    steps = []
    for number in range(0, len(pieces), 3):
        if pieces[number].strip():
            steps.append(Step("text", pieces[number].strip()))
        if number + 2 < len(pieces):
            steps.append(_step(pieces[number + 1], pieces[number + 2]))
    return steps


def _step(language: str, block: str) -> Step:
    if language == "python":
        return Step("python", block.rstrip())
    lines = block.replace(" \\\n", " ").splitlines()
    command = " ".join(lines[0].removeprefix("$ ").split())
    return Step("console", command, "\n".join(lines[1:]))


def notebook(page: Path) -> str:
    """Return the page as a Jupyter notebook, with the outputs that the page shows."""
    content = {
        "cells": [_cell(step, number) for number, step in enumerate(read_steps(page))],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(step: Step, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"step-{number}", "metadata": {}}
    if step.kind == "text":
        return {"cell_type": "markdown", **cell, "source": _lines(step.source)}
    source = f"!{step.source}" if step.kind == "console" else step.source
    outputs = []
    if step.output:
        outputs = [{"name": "stdout", "output_type": "stream", "text": _lines(step.output)}]
    return {
        "cell_type": "code",
        **cell,
        "execution_count": None,
        "outputs": outputs,
        "source": _lines(source),
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
