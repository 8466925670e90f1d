"""Write the pages and the notebook that are made from other sources.

python docs/tools/generate.py
"""

from pathlib import Path

from commands_page import commands_page
from long_description import long_description
from options_page import catalogue, options_page
from tutorial import IN_PYTHON, notebook

DOCS = Path(__file__).resolve().parents[1]
CATALOGUE = DOCS.parent / "src" / "diffrect" / "methods" / "catalogue" / "methods.json"


def generated() -> dict[Path, str]:
    """Return the text of every generated file, by its path."""
    return {
        DOCS / "reference" / "commands.md": commands_page(),
        DOCS / "reference" / "options.md": options_page(),
        CATALOGUE: catalogue(),
        DOCS / "tools" / "long_description.md": long_description(),
        DOCS / "start" / "first-model.ipynb": notebook(),
        DOCS / "start" / "in-python.ipynb": notebook(IN_PYTHON),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
