"""Pages as a browser reads them, and evaluations to make pages of, without any training."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from diffrect.data.record import CaseRecord
from diffrect.evaluation.metrics import case_metrics, count_voxels
from diffrect.evaluation.result import CaseScores, Evaluation, PackedLabels
from diffrect.evaluation.summary import summarise

HOSTILE = (
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "\u202eevil\u202c",
    '" onload="alert(1)',
    "{{ 7 * 7 }}",
    "</style><img src=x onerror=alert(1)>",
    "n" * 200,
)
VOID = ("meta", "link", "br", "img", "hr", "input")


class Page(HTMLParser):
    """A page: its elements with their attributes, its text; unbalanced elements are an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), f"{tag} has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self) -> str:
        return "".join(self.text)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check_is_alone(text: str) -> Page:
    """Assert that a page loads nothing, runs nothing but its own script, and is well formed."""
    page = Page(text)
    assert len(page.of("script")) == 1
    assert len(page.of("style")) == 1
    (policy,) = [m["content"] for m in page.of("meta") if "Content-Security-Policy" in m.values()]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, value)
        assert tag not in ("iframe", "object", "embed", "link", "base", "form", "foreignobject")
    names = [a["id"] for _, a in page.elements if "id" in a]
    assert len(names) == len(set(names))
    return page


class FakeStore:
    """A store in memory: nested boxes as labels, and images of them."""

    def __init__(
        self,
        classes: tuple[str, ...],
        cases: list[str],
        shape: tuple[int, int, int] = (4, 24, 20),
        spacing: tuple[float, float, float] | None = (5.0, 1.5, 1.5),
    ) -> None:
        self.classes, self.path = classes, Path("/somewhere/store")
        self.cases = {
            name: CaseRecord(name, f"p-{name}"[:250], True, shape[0], shape[1:], spacing)
            for name in cases
        }
        self.labels, self.random = {}, np.random.default_rng(0)
        for name in cases:
            label = np.zeros(shape, np.uint8)
            codes = self.random.integers(1, len(classes), shape[1] - 8)
            label[:, 4:-4, 3:-3] = codes[:, np.newaxis]
            self.labels[name] = label

    def image(self, case: str, index: int | None = None) -> np.ndarray:
        image = (self.labels[case] / 20).astype(np.float32)[:, np.newaxis]
        return image if index is None else image[index]

    def label(self, case: str, index: int | None = None) -> np.ndarray:
        return self.labels[case] if index is None else self.labels[case][index]

    def evaluation(self, missing: str | None = None, **changes: object) -> Evaluation:
        """Scores of predictions that are moved by the number of their case; of one, nothing."""
        cases, predictions = [], {}
        for number, (name, record) in enumerate(self.cases.items()):
            truth = self.labels[name]
            found = np.roll(truth, number % 4, axis=2)
            if name == missing:
                found = np.zeros_like(found)
            scores = case_metrics(found, truth, self.classes, record.spacing)
            voxels = count_voxels(found, truth, self.classes)
            cases.append(CaseScores(name, record.patient, 0, scores, voxels))
            predictions[name] = PackedLabels.of(found)
        summary = summarise(case.classes for case in cases)
        facts = {
            "split": "val",
            "checkpoint": "best",
            "step": 400,
            "empty": "undefined",
            "run": "/somewhere/run",
            "store": str(self.path),
            "diffrect": "0.2",
            "format": 1,
            "protocol": {
                "method": "supervised",
                "preset": "default",
                "labelled_patients": ["p1"],
                "unlabelled_patients": 3,
                "iterations": 400,
                "size": 32,
                "seed": 1,
                "options": {"scale": "<b>x</b>"},
            },
            "missing_patients": [],
            "mean": summary.mean,
            "classes": summary.classes,
            "undefined": summary.undefined,
            "cases": cases,
            "predictions": predictions,
        }
        return Evaluation(**(facts | changes))
