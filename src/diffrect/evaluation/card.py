"""The model card: what a trained model is, what it has learned from, and how good it is.

It is Markdown with a YAML head, as model hubs read it, and names no path and no patient.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from diffrect.console import count
from diffrect.data.fields import Fields, is_number
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.markup import markdown_text
from diffrect.evaluation.metrics import METRICS
from diffrect.evaluation.scores_file import read_scores
from diffrect.inference.model import Model
from diffrect.runs.folder import read_split
from diffrect.runs.folds import SCORES_FILE, is_cross_validation, split_file, trained_folds
from diffrect.runs.names import STORE_LINK_FILE, metrics_file
from diffrect.text_files import read_text

_SPLITS = {"val": "Validation patients, who chose the checkpoint", "test": "Test patients"}
_LIMITS = (
    "The model is for research. It is no medical device, and nobody has examined whether it is "
    "safe or useful for patients.",
    "It labels slices one by one and expects images like those it was trained on: of the same "
    "region, modality and channels, cut alike. Scans of another scanner, protocol or disease can "
    "be labelled wrongly without a sign of it; score it on labelled scans of your own before use.",
    "It always labels: also an image that does not show these structures.",
    "Scores of few patients say little, and those of the patients who chose the checkpoint are "
    "too good.",
)


class _Data(NamedTuple):
    """What is known of the training data.

    Attributes:
        name: of the data set; None if the store is not there any more.
        patients: how many of each part, in words.
    """

    name: str | None
    patients: str


def model_card(
    run: Path, model: Model, file: str, *, checkpoint: str = "best", licence: str | None = None
) -> str:
    """Return the card of the model in a RUN folder.

    Args:
        run: the folder; its split, store and scores are read if they are there.
        model: its model.
        file: name of the file that holds the model.
        checkpoint: the checkpoint that it is from.
        licence: of the weights; None leaves it to be filled in.

    Raises:
        InputError: the split or the scores of the run are damaged.
    """
    data = _data(run)
    sections = (
        _head(model, data, licence),
        f"# {markdown_text(Path(file).stem)}\n\n{_summary(model)}",
        _use(model, file),
        f"## Training data\n\n{_training_data(data)}",
        f"## Training\n\n{_table(('setting', 'value'), _protocol(model, checkpoint))}",
        f"## Scores\n\n{_scores(run, model, checkpoint)}",
        "## Intended use and limits\n\n" + "\n".join(f"- {line}" for line in _LIMITS),
        f"## Licence\n\n{_licence(licence)}",
    )
    return "\n\n".join(sections) + "\n"


def _head(model: Model, data: _Data, licence: str | None) -> str:
    """Return the facts that model hubs read."""
    method = model.config.method
    facts: dict[str, Any] = {
        "license": licence or "unknown",
        "library_name": "diffrect",
        "pipeline_tag": "image-segmentation",
        "tags": ["medical-imaging", "segmentation", "semi-supervised", method],
        **({"datasets": [data.name]} if data.name else {}),
        "metrics": ["dice"],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _summary(model: Model) -> str:
    names = ", ".join(markdown_text(name) for name in model.classes[1:])
    return (
        f"A segmenter of medical images, trained with diffrect. It labels {names}; everything else "
        f"is {markdown_text(model.classes[0])}."
    )


def _use(model: Model, file: str) -> str:
    name = file if file.isidentifier() or file.replace(".", "").isalnum() else "MODEL.safetensors"
    facts = [
        ("channels", str(model.channels)),
        ("labels", "; ".join(f"{code} {name}" for code, name in enumerate(model.classes))),
        ("intensities", f"{model.intensity}, per volume and channel, done by predict"),
        ("slices", f"cut along {model.axis}"),
        ("input of the network", _input(model)),
    ]
    return (
        f"## Use\n\n```bash\ndiffrect predict {name} labels scans\n```\n\n"
        "Labels are uint8 on the grid of each image.\n\n" + _table(("input", "value"), facts)
    )


def _input(model: Model) -> str:
    side, spacing = model.size, model.config.spacing
    if spacing is None:
        return f"slices resized to {side} x {side} pixels ({model.interpolation})"
    return f"{side} x {side} pixels of {spacing:g} mm, the middle of the slice"


def _data(run: Path) -> _Data:
    if is_cross_validation(run):
        folds = trained_folds(run)
        first = Split.from_json(read_text(split_file(run, 1), "the split of a fold"))
        everyone = len({*first.train, *first.test, *first.val})
        held_out = "each of them trained without another part of the labelled patients"
        return _Data(
            _name_of_data(folds[0]),
            f"{count(len(folds), 'network')} of a cross-validation of {everyone} patients, "
            f"{held_out}: {_counts(first)} in the first",
        )
    try:
        split = read_split(run)
    except InputError:  # a checkpoint predicts without the rest of its folder
        return _Data(_name_of_data(run), "not recorded")
    return _Data(_name_of_data(run), _counts(split))


def _counts(split: Split) -> str:
    return (
        f"{count(len(split.labelled), 'labelled patient')}, {len(split.unlabelled)} unlabelled, "
        f"{len(split.val)} to choose a checkpoint by, {len(split.test)} to test"
    )


def _name_of_data(run: Path) -> str | None:
    """Return the name of the folder that the store was made from; None if it is not there."""
    try:
        link = read_text(run / STORE_LINK_FILE, "a store", errors="surrogateescape").strip()
        return Path(Store(link).source).name or None
    except (InputError, ValueError):
        return None


def _training_data(data: _Data) -> str:
    name = "not recorded; name the data set here" if data.name is None else markdown_text(data.name)
    return _table(("data", "value"), [("data set", name), ("patients", data.patients)], plain=True)


def _protocol(model: Model, checkpoint: str) -> list[tuple[str, str]]:
    config = model.config
    chosen = "by the Dice of the validation patients" if checkpoint == "best" else "the last one"
    return [
        ("method", config.method),
        ("preset", config.preset),
        ("iterations", f"{config.iterations}; this is iteration {model.step}, chosen {chosen}"),
        ("batch", f"{config.batch_labelled} labelled and {config.batch_unlabelled} unlabelled"),
        ("size", _input(model)),
        ("seed", str(config.seed)),
        ("precision", config.precision),
        ("parameters", f"{sum(p.numel() for p in model.network.parameters()):,}"),
        ("diffrect", str(model.code.get("diffrect") or "not recorded")),
        ("commit", str(model.code.get("commit") or "not recorded")),
        ("in the file", "the network that predicts, without those that only train"),
    ]


def _scores(run: Path, model: Model, checkpoint: str) -> str:
    """Return a table for each split that was scored with this model."""
    tables = []
    for file, title in _score_files(run):
        content = read_scores(file)
        own = (content.get("checkpoint"), content.get("step")) == (checkpoint, model.step)
        if own or is_cross_validation(run):
            tables.append(_score_table(title, Fields(content, file)))
    return "\n\n".join(tables) or "Not scored: `diffrect evaluate RUN` does it, before `export`."


def _score_files(run: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of scores that are there, and what they score."""
    files = [(run / metrics_file(split), title) for split, title in _SPLITS.items()]
    files.append((run / SCORES_FILE, "Patients held out of each fold, scored by its network"))
    yield from ((file, title) for file, title in files if file.is_file())


def _score_table(title: str, fields: Fields) -> str:
    classes, mean = fields.fields("classes"), fields.fields("mean")
    rows = [(name, classes.fields(name)) for name in classes.values]
    used = [m for m in METRICS if any(is_number(row.values.get(m)) for _, row in rows)]
    heading = ("class", *(METRICS[metric].heading for metric in used))
    cells = [
        (name, *(METRICS[m].text(_number(row.values.get(m))) for m in used))
        for name, row in [*rows, ("mean", mean)]
    ]
    cases = fields.get("cases", [])
    of = count(len(cases), "case") if isinstance(cases, list) else "cases"
    return f"{title} ({of}); 95HD and ASD are distances of surfaces:\n\n{_table(heading, cells)}"


def _number(value: object) -> float:
    return float(value) if is_number(value) else math.nan  # type: ignore[arg-type]  # a number


def _licence(licence: str | None) -> str:
    if licence is None:
        return "Not stated: `export --licence TEXT` does it. The data may set terms of their own."
    return f"The weights: {markdown_text(licence)}."


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]], *, plain: bool = False) -> str:
    """Return a table in Markdown.

    Args:
        heading: names of the columns.
        rows: cells; text of a user's.
        plain: the cells are Markdown already.
    """
    lines = [heading, ["---"] * len(heading)]
    lines += [row if plain else [markdown_text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
