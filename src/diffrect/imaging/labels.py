"""The one label code that is not a class."""

IGNORED = 255
"""Label of pixels that nobody annotated; excluded from every loss and metric.

Class codes are uint8 and stop at 254, so 255 is free.
"""
IGNORED_NAMES = ("ignore", "ignored")
"""Names that a data set's list of classes may give it."""
