"""Show the `Example:` of a docstring as code: griffe knows that section only as `Examples:`."""

from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the section in every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of one function, class, attribute or module."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
