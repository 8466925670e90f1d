"""Run the MONAI Label app in MONAI Label's own server, and drive it with MONAI Label's own client.

    python benchmarks/monai_label_client.py RUN SCANS [--store STORE]

SCANS is copied to a folder of its own first. Each line says what was asked and what came; the exit
code is 1 if something else came than should have. Needs an environment with diffrect and
monailabel; the server listens on this machine only, and ends with the script.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from monailabel.client import MONAILabelClient

import diffrect
from diffrect.imaging.read import read_label

APP = Path(__file__).parents[1] / "integrations" / "monai_label"


def main() -> int:
    """Read the arguments, run the server and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--wait", type=float, default=300, help="seconds to wait for the server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(APP, folder / "app")
        shutil.copytree(arguments.scans, folder / "scans")
        port = free_port()
        server = start(folder, port, arguments.run, arguments.store)
        try:
            client = MONAILabelClient(f"http://127.0.0.1:{port}", tmpdir=name)
            info = wait_for(client, server, arguments.wait)
            right = check(client, info, folder / "scans", arguments.run, arguments.store)
        finally:
            server.terminate()
            server.wait(30)
    return 0 if right else 1


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def start(folder: Path, port: int, run: Path, store: Path | None) -> subprocess.Popen[bytes]:
    """Return the server's process; it logs to stderr."""
    conf = ["--conf", "run", str(run.resolve()), "--conf", "device", "cpu"]
    if store is not None:
        conf += ["--conf", "store", str(store.resolve())]
    places = ["--app", str(folder / "app"), "--studies", str(folder / "scans")]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "monailabel.main", "start_server", *places, *address, *conf]
    return subprocess.Popen(command, cwd=folder, env=dict(os.environ), stdout=sys.stderr)


def wait_for(
    client: MONAILabelClient, server: subprocess.Popen[bytes], seconds: float
) -> dict[str, object]:
    """Return what the server says of itself, as soon as it answers.

    Raises:
        SystemExit: it has ended, or does not answer in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            return dict(client.info())
        except (OSError, ValueError):
            time.sleep(1)
    raise SystemExit(f"the server ended or did not answer within {seconds:g} s")


def check(
    client: MONAILabelClient, info: dict[str, object], scans: Path, run: Path, store: Path | None
) -> bool:
    """Ask the server for what a client asks for, print what comes, and say whether it is right."""
    model = diffrect.Model.load(run, device="cpu")
    names = {name: code for code, name in enumerate(model.classes) if code}
    right = [says("models", list(info["models"]), ["diffrect"])]
    right.append(says("labels", info["models"]["diffrect"]["labels"], names))
    strategy = "random" if store is None else "expected_gain"
    asked = {"label_tag": "final"}
    handed = []
    for _ in range(2):
        sample = client.next_sample(strategy, asked)
        print(f"next sample: {sample['id']}, {sample.get('reason', 'at random')}")
        handed.append(sample["id"])
        file, told = client.infer("diffrect", sample["id"], {"result_extension": ".nii.gz"})
        label = read_label(Path(file)).array
        same = np.array_equal(label, model.predict(Path(sample["path"])))
        right.append(says("inferred as predict does", same, True))
        right.append(says("names of labels", told["label_names"], names))
        client.save_label(sample["id"], file, "final")
    right.append(says("another scan after the first has a label", len(set(handed)), 2))
    order = (
        [patient.cases for patient in diffrect.rank(run, store, progress=False).patients]
        if (store is not None)
        else None
    )
    if order is not None:
        known = [case for cases in order for case in sorted(cases) if any(scans.glob(f"{case}.*"))]
        right.append(says("order of rank", handed, known[:2]))
    labelled = client.datastore()["objects"]
    done = sorted(name for name, one in labelled.items() if "final" in one["labels"])
    right.append(says("labels in the data store", done, sorted(handed)))
    return all(right)


def says(what: str, found: object, expected: object) -> bool:
    """Print one line about what came, and return whether it is what should have come."""
    right = found == expected
    print(f"{what}: {found}" + ("" if right else f", WRONG, expected {expected}"), flush=True)
    return right


if __name__ == "__main__":
    sys.exit(main())
