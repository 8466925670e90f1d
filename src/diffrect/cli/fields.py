"""Types of options that several commands have."""

from typing import Annotated

from diffrect.config import Shown
from diffrect.runs.names import Checkpoint as Checkpoint

Flag = bool
Device = Annotated[str, Shown("auto|cpu|cuda|cuda:N|mps")]
RectifyFrom = Annotated[int | None, Shown("INT", default="1/30 of the iterations")]
Plugins = Annotated[tuple[str, ...], Shown("FILE.py")]
