"""The one label code that is no class."""

IGNORED = 255
"""Not annotated: the pixel counts in no loss and in no metric; free, as codes are uint8."""
