"""The version of the installed package."""

from importlib.metadata import version


def package_version() -> str:
    """Return the version of diffrect, such as `0.1.0`."""
    return version("diffrect")
