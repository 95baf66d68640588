"""Text of others as it may be shown: one line of printable characters, escaped for its medium.

Names of classes, attacks, nodes and files, messages of other libraries, and whatever a file says of itself
come from whoever prepared the file. Ordinary text of any language stays as it is.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

# Letters and marks by their category, and nothing to see: they let two names look alike.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_COMMAND: Final = re.compile(r"^(\s*):(?=:)")
_BRACKETED: Final = re.compile(r"#(#\w*\[)")
_INLINE: Final = re.compile(r"([\\`*_\[\]|~$@])")
_BLOCK: Final = re.compile(r"^(\d*)([#+\-=.)])(?=[#+\-=\s]|$)")
_LINK: Final = re.compile(r"(:(?=//)|www(?=\.))")


def one_line(text: str) -> str:
    r"""Escape what does not print: controls, line ends, bidirectional and invisible signs, lone surrogates.

    They become what Python writes for them (`\n`, `\x1b`, `\u202e`). Spaces of every width stay. What is
    escaped once is not escaped again.
    """
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    return "".join(sign if _is_shown(sign) else _escaped(sign) for sign in text)


def log_line(text: str) -> str:
    """Escape as `one_line`, and what a CI system would take for a command to itself.

    GitHub and Azure execute a line of a job's log that begins with `::`, and `##[...]` and `##vso[...]`
    anywhere in it; others read `##name[...]` likewise.
    """
    return _BRACKETED.sub(r"\\x23\1", _COMMAND.sub(r"\1\\x3a", one_line(text)))


def markdown(text: str) -> str:
    """Escape as `log_line`, and what Markdown reads as its own or as HTML; white space becomes single spaces.

    For a sentence, an item of a list or a cell of a table, also where the text stands first in it.
    """
    plain = _INLINE.sub(r"\\\1", log_line(" ".join(text.split())))
    return html.escape(_LINK.sub(r"\1\\", _BLOCK.sub(r"\1\\\2", plain)), quote=False)


def markup(text: str) -> str:
    """Escape as `one_line`, and what HTML and XML read as their own."""
    return html.escape(one_line(text))


def _is_shown(sign: str) -> bool:
    return (sign.isprintable() or unicodedata.category(sign) == "Zs") and sign not in _INVISIBLE


def _escaped(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode() if ord(sign) > 0x7F else repr(sign)[1:-1]
