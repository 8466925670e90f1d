"""The command line: arguments in, an exit code out, and every error of the user as one line.

Exit codes: 0 done, 1 some of several inputs failed or were found wrong, 2 bad input, 130
interrupted, 141 nobody reads the output any more.
"""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from diffrect.distributed.signals import (
    end_with_parent,
    interrupt_on_sigterm,
    is_child,
    leaving_at_once,
)

if is_child():  # which imports the script that started its parent, and then its work
    end_with_parent()
with leaving_at_once():  # these imports take a while
    from diffrect.cli.commands import WORK
    from diffrect.cli.parsing import check_resume, parse, settings_of_files
    from diffrect.console import say, speak_plainly, warn
    from diffrect.distributed.ranks import leave_after_parent, started_by_fabric
    from diffrect.distributed.waiting import wait_asleep
    from diffrect.errors import InputError, brief
    from diffrect.plugins.trust import trust_names
    from diffrect.version import package_version

# Nobody's mistake in the code: the message by itself says what to do about it.
_ENVIRONMENT_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ESTALE,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENXIO,
)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; print bad input in one line on stderr."""
    speak_plainly()
    if started_by_fabric():
        end_with_parent()
    wait_asleep()
    try:
        with interrupt_on_sigterm():
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
        if code:
            leave_after_parent()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left; the rest of the buffer is dropped silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _run(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["--version"]:
            say(f"diffrect {package_version()}")
        else:
            with leaving_at_once():
                command = parse(arguments)
                check_resume(command, arguments)
                trust_names(arguments)
                look = getattr(command, "look", None)
                if look is not None:
                    with settings_of_files(command, arguments):
                        look()
                if type(command) in WORK:
                    import_module(WORK[type(command)])
            with settings_of_files(command, arguments):
                command()
    except InputError as error:
        for line in error.lines:
            warn(f"error: {line}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        warn(str(interrupt) or "interrupted")
        return 130
    except OSError as error:
        if error.errno not in _ENVIRONMENT_ERRORS:
            raise
        advice = _advice(arguments) if error.errno in _FULL else ""
        warn(f"error: {brief(error.filename or 'output', 1000)}: {error.strerror}{advice}")
        return 2
    except SystemExit as stop:  # --help
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def _advice(arguments: list[str]) -> str:
    """Return how to continue once there is room on the disk again."""
    flags = {"train": "--resume", "prepare": "--resume", "predict": "--overwrite"}
    flag = flags.get(arguments[0]) if arguments else None
    if flag is None or flag in arguments or "--repair" in arguments:
        return "; free some space, then repeat the command"
    instead = " in place of --overwrite" if "--overwrite" in arguments else ""
    return f"; free some space, then repeat the command with {flag}{instead}"
