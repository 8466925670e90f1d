"""The MONAI Label app: it labels scans, and hands them out in the order of `rank`."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import diffrect
from diffrect.errors import InputError
from diffrect.imaging.read import read_image, read_label
from support.monai_label import App, Error, RefusedByServer, app_class
from support.scans import grid, write_scan
from support.tiny import scan

NAMES = ("a", "b", "c", "d_0000")


@pytest.fixture(scope="module")
def app() -> Iterator[type[App]]:
    with app_class() as found:
        yield found


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        image, _ = scan((26, 22, 3), 4, seed=number)
        write_scan(tmp_path / "studies" / f"{name}.nii.gz", image, grid())
    return tmp_path / "studies"


def start(app: type[App], run: Path, studies: Path, **conf: str) -> App:
    return app(app_dir="app", studies=str(studies), conf={"run": str(run), **conf})


@pytest.mark.parametrize("suffix", [None, ".nii.gz", ".nrrd", ".exe"])
def test_labels_are_those_of_predict(app, tiny_run, studies, suffix) -> None:
    server = start(app, tiny_run, studies, checkpoint="last")
    request = {"model": "diffrect", "image": "a", "result_extension": suffix}
    result = server.infer(request)
    file = Path(result["file"])
    try:
        assert file.name.endswith(suffix if suffix in (".nii.gz", ".nrrd") else ".nii.gz")
        label = read_label(file)
        model = diffrect.Model.load(tiny_run, "last")
        np.testing.assert_array_equal(label.array, model.predict(studies / "a.nii.gz"))
        np.testing.assert_allclose(label.affine, read_image(studies / "a.nii.gz").affine, atol=1e-5)
        assert label.array.any()
    finally:
        file.unlink()
    assert result["params"]["label_names"] == {
        "right ventricle": 1,
        "myocardium": 2,
        "left ventricle": 3,
    }


def test_what_clients_are_told(app, tiny_run, studies) -> None:
    server = start(app, tiny_run, studies)
    info = server.infers["diffrect"].info()
    assert (info["type"], info["dimension"]) == ("segmentation", 3)
    assert info["labels"]["left ventricle"] == 3
    assert server.infers["diffrect"].is_valid()
    assert list(server.strategies) == ["random"]


def test_bad_scans_are_refused_in_a_line_and_leave_no_file(
    app, tiny_run, studies, monkeypatch, tmp_path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    server = start(app, tiny_run, studies)
    (studies / "a.nii.gz").write_bytes(b"no scan")
    with pytest.raises(RefusedByServer) as caught:
        server.infer({"model": "diffrect", "image": "a"})
    assert caught.value.error == Error.INFERENCE_ERROR
    assert "a.nii.gz: expected a readable NIfTI file" in caught.value.msg
    assert not list(temporary.iterdir())


def test_a_server_without_a_model_does_not_start(app, studies, tmp_path) -> None:
    with pytest.raises(RefusedByServer, match="--conf run: expected a folder made by diffrect"):
        app(app_dir="app", studies=str(studies), conf={})
    with pytest.raises(RefusedByServer, match="nowhere") as caught:
        start(app, tmp_path / "nowhere", studies)
    assert caught.value.error == Error.APP_INIT_ERROR


def ranked(*patients: tuple[str, ...]) -> Any:
    found = [
        SimpleNamespace(rank=rank, cases=cases, reason=f"reason {rank}")
        for rank, cases in enumerate(patients, 1)
    ]
    return lambda *_, **__: SimpleNamespace(patients=found)


def test_scans_come_by_rank_and_annotated_ones_never(app, tiny_run, studies, monkeypatch) -> None:
    monkeypatch.setattr(diffrect, "rank", ranked(("d",), ("c", "b")))
    server = start(app, tiny_run, studies, store="store")
    request = {"strategy": "expected_gain"}
    now = time.time()
    first = server.next_sample(request, now)
    assert (first["id"], first["rank"], first["reason"]) == ("d_0000", 1, "reason 1")
    assert first["path"] == str(studies / "d_0000.nii.gz")
    # Another annotator gets another scan, and those that the store does not have come last.
    assert [server.next_sample(request, now)["id"] for _ in range(3)] == ["b", "c", "a"]
    server.scans.labelled = {"d_0000", "b"}
    assert server.next_sample(request, now)["id"] == "c"
    server.scans.labelled = set(NAMES)
    assert server.next_sample(request, now) == {}


def test_a_scan_that_nobody_annotated_is_handed_out_again(
    app, tiny_run, studies, monkeypatch
) -> None:
    monkeypatch.setattr(diffrect, "rank", ranked(("c",)))
    server = start(app, tiny_run, studies, store="store")
    request = {"strategy": "expected_gain"}
    assert server.next_sample(request, time.time() - 4000)["id"] == "c"
    assert server.next_sample(request, time.time())["id"] == "c"
    assert server.next_sample(request, time.time())["id"] == "a"


def test_what_rank_refuses_is_a_line(app, tiny_run, studies, monkeypatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("store", "a store")

    monkeypatch.setattr(diffrect, "rank", refuse)
    server = start(app, tiny_run, studies, store="store")
    with pytest.raises(RefusedByServer, match="store: expected a store"):
        server.next_sample({"strategy": "expected_gain"}, 0.0)


def test_the_ranking_of_a_store(app, tiny_run, store, tmp_path) -> None:
    ranking = diffrect.rank(tiny_run, store.path, progress=False)
    expected = [min(patient.cases) for patient in ranking.patients]
    image, _ = scan((26, 22, 3), 4, seed=1)
    for case in expected:
        write_scan(tmp_path / "scans" / f"{case}.nii.gz", image, grid())
    server = start(app, tiny_run, tmp_path / "scans", store=str(store.path))
    request = {"strategy": "expected_gain"}
    found = [server.next_sample(request, time.time()) for _ in expected]
    assert [sample["id"] for sample in found] == expected
    assert found[0]["reason"] == ranking.patients[0].reason
