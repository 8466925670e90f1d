"""Types of options that several commands have."""

from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

Flag = Annotated[bool, arg(help_behavior_hint="")]
Checkpoint = Literal["best", "last"]
Device = Annotated[str, arg(metavar="NAME")]
RectifyFrom = Annotated[
    int | None, arg(metavar="INT", help_behavior_hint="(default: 1/30 of the iterations)")
]
Plugins = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FILE.py")]
