"""Text of a user as Markdown and LaTeX show it: the one way out for each.

Names of classes, patients, methods and files come from strangers. Whoever writes a table or a
report passes them through here, so that they are read as text and as nothing else. CSV has its own
in `text_files`.
"""

import re

from diffrect.console import visible

# A backslash works for some in every dialect, an entity for all.
_MARKDOWN = {
    **{character: f"&#{ord(character)};" for character in "~$:.)#>=!?-+"},
    **{character: f"\\{character}" for character in r"\`*_[]{}|"},
    **{"<": "&lt;", "&": "&amp;"},
}
_MARKDOWN_SPECIAL = re.compile(
    r"[\\`*\[\]{}|~$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore within a word is one
    r"|<(?=[A-Za-z/!?])"  # else it is "less than"
    r"|&(?=#|\w+;)"
    r"|:(?=//)|(?i:(?<=www)\.)"  # GitHub links bare addresses
)
# At the start of a line: headings, quotes, lists, rules, tabs, boxes, definitions; no numbers.
_MARKDOWN_BLOCK = re.compile(
    r"\A(?P<number>\d+(?=[.)](?:\s|\Z)))?(?P<mark>(?(number)[.)]|(?:[#>=!?:]|[-+](?![\d.]))))"
)
_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "%&_#${}"},
    **{character: f"{{{character}}}" for character in "[]*\"'`"},  # arguments of \\, ligatures
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
}


def markdown_text(text: str) -> str:
    """Return text as Markdown shows it, in a line, a table or a heading.

    It cannot become emphasis, a link, a picture, code, mathematics, HTML, a cell or a block of its
    own; characters that steer are `visible`.
    """
    safe = _MARKDOWN_SPECIAL.sub(lambda found: _MARKDOWN[found[0]], visible(text).strip(" "))
    block = _MARKDOWN_BLOCK.match(safe)
    if block is None:
        return safe
    return f"{block['number'] or ''}{_MARKDOWN[block['mark']]}{safe[block.end() :]}"


def latex_text(text: str) -> str:
    """Return text as LaTeX prints it; characters that steer are `visible`."""
    return "".join(_LATEX.get(character, character) for character in visible(text))
