"""Escaping of foreign text to one line of printable characters, for logs, Markdown and HTML.

Names of classes, attacks, nodes and files, messages of other libraries, and texts inside a file are chosen by
the author of that file. Ordinary text of any language is unchanged.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

# Letters and marks by their category that are invisible: they make two names appear equal.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_COMMAND: Final = re.compile(r"^(\s*):(?=:)")
_BRACKETED: Final = re.compile(r"#(#\w*\[)")
_INLINE: Final = re.compile(r"([\\`*_\[\]|~$@])")
_BLOCK: Final = re.compile(r"^(\d*)([#+\-=.)])(?=[#+\-=\s]|$)")
_LINK: Final = re.compile(r"(:(?=//)|www(?=\.))")


def one_line(text: str) -> str:
    r"""Escape unprintable characters: controls, line ends, bidirectional and invisible signs, surrogates.

    They are replaced by Python's escapes (`\n`, `\x1b`, `\u202e`). Spaces of every width are kept. An
    escaped text is not escaped again.
    """
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    return "".join(sign if _is_shown(sign) else _escaped(sign) for sign in text)


def log_line(text: str) -> str:
    """Escape as `one_line`, and text that a CI system would execute as a command.

    GitHub and Azure execute a line of a job's log that begins with `::`, and `##[...]` and `##vso[...]`
    anywhere in it; others read `##name[...]` likewise.
    """
    return _BRACKETED.sub(r"\\x23\1", _COMMAND.sub(r"\1\\x3a", one_line(text)))


def markdown(text: str) -> str:
    """Escape as `log_line`, and the syntax of Markdown and HTML; white space becomes single spaces.

    For a sentence, an item of a list or a cell of a table, also at its beginning.
    """
    plain = _INLINE.sub(r"\\\1", log_line(" ".join(text.split())))
    return html.escape(_LINK.sub(r"\1\\", _BLOCK.sub(r"\1\\\2", plain)), quote=False)


def markup(text: str) -> str:
    """Escape as `one_line`, and the syntax of HTML and XML."""
    return html.escape(one_line(text))


def _is_shown(sign: str) -> bool:
    return (sign.isprintable() or unicodedata.category(sign) == "Zs") and sign not in _INVISIBLE


def _escaped(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode() if ord(sign) > 0x7F else repr(sign)[1:-1]
