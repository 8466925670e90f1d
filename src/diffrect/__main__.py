"""`python -m diffrect` is `diffrect`, also for launchers such as torchrun."""

import os
import sys

if __name__ == "__main__":
    # Python adds the current folder, from where the method that a stranger's checkpoint names could
    # be imported. PYTHONPATH=. says that this is meant, as for `diffrect`.
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
        del sys.path[0]
    from diffrect.cli.main import main

    sys.exit(main())
