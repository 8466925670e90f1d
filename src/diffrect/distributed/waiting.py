"""How threads wait for each other: asleep, unless the user says otherwise.

The threads of OpenMP, with which torch computes on a processor, wait many thousand times per
iteration. By default they spin meanwhile, which keeps a core busy that another program, or another
thread of the same training, could use: on a machine that does other work an iteration takes several
times as long. `python benchmarks/waiting_policy.py` measures it.
"""

import os
from collections.abc import MutableMapping

# All OpenMP libraries that torch comes with read the first; the others are those of LLVM and GNU.
POLICY = "OMP_WAIT_POLICY"
_SETTINGS = (POLICY, "KMP_BLOCKTIME", "GOMP_SPINCOUNT")


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the threads of this process and of those that it starts sleep while they wait.

    This has to be before torch is imported, which reads the environment then.

    Args:
        environment: gets the policy, unless it says already how to wait.
    """
    if not any(name in environment for name in _SETTINGS):
        environment[POLICY] = "PASSIVE"
