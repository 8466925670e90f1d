"""Ways to spoil the bytes, the lines and the values of a file, drawn from a seeded generator."""

import copy
import random
import re
from typing import Any

NUMBERS = (
    *("0", "-1", "1", "2", "3", "7", "255", "256", "65535", "65536", "2147483647", "2147483648"),
    *("-2147483648", "4294967295", "9223372036854775807", "18446744073709551616", "1e308", "1e999"),
    *(
        "-1e999",
        "nan",
        "inf",
        "-inf",
        "0x10",
        "0.1",
        "1e-320",
        "１２",
        "1_000",
        "٣",
        "00",
        "-0",
        "1e9",
    ),
    *("9" * 400, "", " ", "True", "1.0.0", "1,5", "+5", "1/0"),
)
WORDS = (
    *(
        "",
        " ",
        "none",
        "null",
        "LOCAL",
        "LIST",
        "raw",
        "gzip",
        "double",
        "block",
        "../outside/secret.raw",
    ),
    *(
        "/dev/zero",
        "/dev/stdin",
        "/",
        ".",
        "..",
        "~",
        "*",
        "%s%n",
        "{0}",
        "$(id)",
        "`id`",
        "a\x1b[2J",
    ),
    *(
        "b\u202ec",
        "\ud800",
        "\x00",
        "[red]",
        "=1+1",
        "<b>",
        "\\[x](y)",
        "a" * 3000,
        "é",
        "é",
        "CON",
    ),
    *(
        "&a [*a, *a]",
        "!!python/object/apply:os.system [id]",
        "2021-99-99",
        "1:2:3",
        "<<: *a",
        "- -",
    ),
    *("[" * 2000, "{" * 2000, '{"a":' * 500, "0" * 5000, "1e-99999999%", "5%", "0%", "101%"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 255, 256, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "a", "0", "1", "../x", "/etc/passwd"),
    *(
        "a\x1b[2J",
        "b\u202ec",
        "\ud800",
        "a/b",
        "a" * 3000,
        [],
        {},
        [[]],
        [{}],
        {"": None},
        [None],
        [1],
    ),
    *({"a": {"b": {"c": []}}}, ["a", "a"], [0] * 1000),
)
_BYTES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x01",
    b"\n",
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\x7f",
)


def spoil_bytes(content: bytes, draw: random.Random, begin: int = 512) -> bytes:
    """Return content with one to four changes, more of them near its beginning.

    Args:
        content: bytes of a file.
        draw: decides what changes.
        begin: how many bytes its beginning has.
    """
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(changed)
        if not size:
            break
        at = draw.randrange(min(begin, size) if draw.random() < 0.6 else size)
        length = draw.choice((1, 2, 4, 8, 16, 64, 512))
        old, other = changed[at : at + length], draw.randrange(size)
        new = draw.choice(
            (
                bytes([changed[at] ^ 1 << draw.randrange(8)]),
                draw.choice(_BYTES),
                draw.randbytes(min(length, 16)),
                bytes(len(old)),
                changed[other : other + length],
                None,  # the rest is lost
                b"",  # some bytes are lost
                old + old,
                old + draw.randbytes(length),
            )
        )
        end = (
            size
            if new is None
            else at + (len(old) if new in (b"",) or len(new) > len(old) else len(new))
        )
        changed[at:end] = new or b""
    return bytes(changed)


def spoil_text(text: str, draw: random.Random) -> str:
    """Return text of lines with one to three changes of lines, numbers or words."""
    lines = text.split("\n")
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(lines))
        kind = draw.randrange(8)
        if kind <= 2:
            lines[at] = _exchange(r"-?\d+(?:\.\d+)?", lines[at], draw.choice(NUMBERS), draw)
        elif kind <= 4:
            lines[at] = _exchange(r"[^\s=:,\[\]{}\"]+", lines[at], draw.choice(WORDS), draw)
        elif kind == 5:
            lines.pop(at) if len(lines) > 1 else None
        elif kind == 6:
            lines.insert(draw.randrange(len(lines) + 1), lines[at])
        else:
            name, sign, _ = lines[at].partition("=" if "=" in lines[at] else ":")
            lines[at] = f"{name}{sign} {draw.choice(WORDS + NUMBERS)}"
    return "\n".join(lines)


def _exchange(pattern: str, line: str, new: str, draw: random.Random) -> str:
    found = list(re.finditer(pattern, line))
    if not found:
        return line + new
    one = draw.choice(found)
    return line[: one.start()] + new + line[one.end() :]


def spoil_tree(tree: Any, draw: random.Random) -> Any:
    """Return a copy of nested lists and dicts in which one to three places are changed."""
    tree = [copy.deepcopy(tree)]
    for _ in range(draw.choice((1, 1, 2, 3))):
        owner, key = draw.choice(list(_places(tree))[1:] or [(tree, 0)])
        kind = draw.randrange(6)
        if kind <= 3:
            owner[key] = copy.deepcopy(draw.choice(VALUES))
        elif kind == 4:
            del owner[key]
        elif isinstance(owner, dict):
            owner[draw.choice(WORDS)] = owner[key]
        else:
            owner.append(owner[key])
    return tree[0] if tree else None


def _places(node: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    keys = (
        list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    )
    for key in keys:
        found.append((node, key))
        found += _places(node[key])
    return found
