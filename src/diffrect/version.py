"""The version of the installed package."""


def package_version() -> str:
    """Return the version of diffrect, such as `0.1.0`."""
    from importlib.metadata import version  # takes longer to import than the help to print

    return version("diffrect")
