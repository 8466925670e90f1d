"""Types of options that several commands have."""

from typing import Annotated, Literal

from diffrect.config import Shown

Flag = bool
Checkpoint = Literal["best", "last"]
Device = Annotated[str, Shown("auto|cpu|cuda|cuda:N|mps")]
RectifyFrom = Annotated[int | None, Shown("INT", default="1/30 of the iterations")]
Plugins = Annotated[tuple[str, ...], Shown("FILE.py")]
