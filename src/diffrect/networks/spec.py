"""How a user names a network: `unet`, MODULE:CLASS or MODULE:CLASS(NAME=VALUE, ...).

Values are literals, which are read and never run. Nothing here loads PyTorch.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffrect.errors import InputError
from diffrect.plugins.names import NAME

UNET = "unet"
_SPELLING = re.compile(rf"({NAME.pattern})\s*(\(.*\))?", re.DOTALL)
_LONGEST = 4096


@dataclass(frozen=True)
class NetworkSpec:
    """A network as a user names it.

    Attributes:
        name: `unet`, or MODULE:CLASS.
        arguments: what the class is given besides the numbers of channels and classes.
    """

    name: str = UNET
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Whether it is another network than the U-Net that comes with the package."""
        return self.name != UNET

    @classmethod
    def parse(cls, text: str) -> "NetworkSpec":
        """Return the network that a text names.

        Raises:
            InputError: the text names none, or an argument is no NAME=VALUE of plain values.
        """
        found = _SPELLING.fullmatch(text.strip()) if len(text) <= _LONGEST else None
        if text.strip() == UNET:
            return cls()
        if found is None:
            expected = "unet, MODULE:CLASS or MODULE:CLASS(NAME=VALUE, ...)"
            raise InputError("--network", expected, got=text, setting="network")
        return cls(found[1], _arguments(found[2] or "()", text))


def _arguments(call: str, text: str) -> dict[str, Any]:
    """Return the values in "(NAME=VALUE, ...)", which are literals.

    Raises:
        InputError: there is anything else in it.
    """
    try:
        node = ast.parse(f"f{call}", mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("more than one call")
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("a value without a name")
        if len({keyword.arg for keyword in node.keywords}) < len(node.keywords):
            raise ValueError("a name that is there twice")
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        reason = "a value that is not plain" if "malformed node" in str(error) else error
        raise InputError(
            "--network",
            "arguments such as (channels=(16, 32), norm='batch') after MODULE:CLASS",
            got=text,
            reason=reason,
            setting="network",
        ) from None
    return values
