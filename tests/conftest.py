"""Tiny data sets, built once a session; tests that change one make their own copy.

A GPU is hidden from the tests, many of which compare numbers bit for bit, unless
DIFFRECT_TEST_GPU=1 is set, as `make test-gpu` does for those of `test_gpu.py`.
"""

import os
from pathlib import Path

if os.environ.get("DIFFRECT_TEST_GPU") != "1":  # before torch looks for one
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
from filelock import FileLock

from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from support.tiny import write_acdc, write_decathlon, write_ssl4mis


@pytest.fixture(scope="session")
def acdc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five patients in ACDC's published layout."""
    return write_acdc(tmp_path_factory.mktemp("acdc"))


@pytest.fixture(scope="session")
def decathlon_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven labelled cases and an unlabelled one in the Decathlon's layout, 3 classes."""
    return write_decathlon(tmp_path_factory.mktemp("decathlon"))


@pytest.fixture(scope="session")
def ssl4mis_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scans of ``acdc_folder`` in the layout of the SSL4MIS benchmark."""
    return write_ssl4mis(tmp_path_factory.mktemp("ssl4mis"))


@pytest.fixture(scope="session")
def store(acdc_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """``acdc_folder``, prepared: ten cases of three slices, 4 classes, the official split."""
    return prepare(acdc_folder, tmp_path_factory.mktemp("stores") / "acdc", progress=False)


@pytest.fixture(scope="session")
def decathlon_store(decathlon_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """``decathlon_folder``, prepared: eight cases of four slices, 3 classes, no split."""
    return prepare(decathlon_folder, tmp_path_factory.mktemp("stores") / "tiny", progress=False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans that some tests read."""
    folder = os.environ.get("DIFFRECT_DATA")
    if not folder:
        pytest.skip("needs real scans: set DIFFRECT_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RUN folder: the supervised method after two iterations on ``store`` at 32 x 32."""
    from diffrect.config import TrainConfig
    from diffrect.training.train import train

    config = TrainConfig(method="supervised", size=32, iterations=2, batch_labelled=2)
    return train(store.path, tmp_path_factory.mktemp("runs") / "tiny", config, progress=False)


@pytest.fixture(scope="session")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_run`` as ONNX; of several processes that test, the first to need it makes it for all.

    Their ``tiny_run`` are equal, and PyTorch's exporter takes many seconds.
    """
    from diffrect.evaluation.export import export

    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    file = folder / "exported" / "model.onnx"
    with FileLock(folder / "exported.lock"):
        return file if file.is_file() else export(tiny_run, file, checkpoint="last")
