"""How threads wait: asleep unless the environment says otherwise."""

import subprocess
import sys

import pytest
import torch

import waiting_policy
from diffrect.config import TrainConfig
from diffrect.distributed.waiting import wait_asleep
from diffrect.training.fabric import make_fabric


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"PATH": "x"}, {"PATH": "x", "OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"KMP_BLOCKTIME": "0"}, {"KMP_BLOCKTIME": "0"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
    ],
)
def test_threads_sleep_unless_the_user_says_otherwise(
    before: dict[str, str], after: dict[str, str]
) -> None:
    wait_asleep(before)
    assert before == after


def test_the_command_line_says_so_before_torch_is_there() -> None:
    script = (
        "import os, sys\nfor name in ('OMP_WAIT_POLICY', 'KMP_BLOCKTIME', 'GOMP_SPINCOUNT'):\n"
        "    os.environ.pop(name, None)\n"
        "from diffrect.cli.main import main\nmain(['--version'])\n"
        "assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE' and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_a_training_takes_the_threads_that_it_is_given() -> None:
    before = torch.get_num_threads()
    try:
        make_fabric(TrainConfig(threads=3, device="cpu"))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_ratios_of_policies() -> None:
    found = [("sleep", 0.5), ("spin", 2.0), ("as OpenMP likes", None)]
    lines = waiting_policy.rows(found, iterations=4, patience=20)
    assert [line.split()[-1].lstrip(">") for line in lines] == ["1.00", "4.00", "8.00"]
    assert lines[2].count(">") == 2
