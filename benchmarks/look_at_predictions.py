"""Draw validation slices with the truth and the predictions of several runs.

    python benchmarks/look_at_predictions.py OUT.png RUN [RUN ...] [--slices 10] [--seed 0]

Writes the picture OUT.png: one row per slice, one column per run. The slices are drawn at random,
one per case, among those of the validation patients that show every structure.
"""

import argparse
from pathlib import Path

import numpy as np

from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.inference.model import Model
from diffrect.reporting.panels import Panel, PictureRow
from diffrect.showcase.pictures import draw_rows


def main() -> None:
    """Read the runs and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    first: Path = arguments.runs[0]
    store = Store((first / "store.txt").read_text("utf-8").strip())
    split = Split.from_json((first / "split.json").read_text("utf-8"))
    models = {run.name: Model.load(run) for run in arguments.runs}
    cases = [case for case in store.cases.values() if case.patient in split.val]
    random = np.random.default_rng(arguments.seed)
    chosen = random.choice(len(cases), min(arguments.slices, len(cases)), replace=False)
    rows = []
    for number in sorted(chosen):
        case = cases[number]
        truth = store.label(case.id)
        complete = [
            i for i, s in enumerate(truth) if set(np.unique(s)) == set(range(len(store.classes)))
        ]
        if not complete:
            continue
        index = int(random.choice(complete))
        image = store.image(case.id, index)
        spacing = (1.0, 1.0) if case.spacing is None else case.spacing[1:]
        panels = [Panel("image"), Panel("truth", truth[index])]
        for name, model in models.items():
            prediction = model.predict_slices(image[None], spacing=case.spacing)[0]
            panels.append(Panel(name, prediction, scored=True))
        rows.append(
            PictureRow(f"{case.id}\nslice {index + 1}", image[0], truth[index], spacing, panels)
        )
    caption = "Validation slices drawn at random among those that show every structure."
    draw_rows(rows, store.classes, caption, arguments.out)


if __name__ == "__main__":
    main()
