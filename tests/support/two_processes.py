"""Run by test_train.py: a training on two processes of which one asks for a stop.

    python tests/support/two_processes.py STORE RUN FOLDER

Each process writes what it holds to FOLDER/RANK.pt.
"""

import sys
from pathlib import Path

import torch

import diffrect.training.train as module
from diffrect.config import TrainConfig


def main(store: Path, run: Path, folder: Path) -> None:
    class SavesItself(module.Loop):  # type: ignore[misc, name-defined]
        def fit(self) -> None:
            trainer = self.trainer
            rank = trainer.fabric.global_rank
            self.stop.requested = rank == 1
            try:
                super().fit()
            finally:
                held = {"step": trainer.step, **trainer.method.state_dict()}
                torch.save(held, folder / f"{rank}.pt")

    module.Loop = SavesItself
    # Every part of a training that sees whole volumes works in the first iteration.
    options = {"rectifier": "volume", "relabel_from": 0.0, "rectify_from": 0}
    options |= {"consistency_target": "rectified"}
    settings = {"size": 32, "iterations": 3, "batch_labelled": 1, "batch_unlabelled": 1}
    config = TrainConfig(**settings, devices=2, device="cpu", options=options)  # type: ignore[arg-type]
    module.train(store, run, config, progress=False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
