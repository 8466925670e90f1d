"""The colours of figures and pictures.

They are those of Okabe & Ito (2008), which colour-blind readers can tell apart.
"""

BLACK = "#000000"
BLUE = "#0072b2"
GREEN = "#009e73"
ORANGE = "#e69f00"
PURPLE = "#cc79a7"
SKY_BLUE = "#56b4e9"
VERMILION = "#d55e00"
YELLOW = "#f0e442"

OF_CLASSES = (VERMILION, YELLOW, SKY_BLUE, PURPLE, GREEN, BLUE, ORANGE)
"""Colours of the foreground classes, from the first; the first three differ in grey, too."""


def class_colour(code: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a foreground class by its code, from 1."""
    text = OF_CLASSES[(code - 1) % len(OF_CLASSES)]
    red, green, blue = (int(text[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
