"""Limits on depth and number of values in JSON and TOML, checked before parsing.

A parser takes tens to hundreds of times a text's bytes, and the square of them where names are dotted.
Counting the words takes no memory, and ends where a limit is reached.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from harden.system.size_limits import CONFIG_DEPTH, JSON_DEPTH, JSON_DIGITS, JSON_VALUES, SizeLimit

# Possessive throughout: no word is read twice, and a long one takes no stack.
_JSON: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]|,|[-+.0-9eE]{2,}+|[^\s"\[\]{},]++', re.DOTALL)
_TOML: Final = re.compile(
    r'#[^\n]*+|"""(?:[^"\\]++|\\.|"(?!""))*+(?:""")?|\'\'\'(?:[^\']++|\'(?!\'\'))*+(?:\'\'\')?'
    r'|"(?:[^"\\\n]++|\\.)*+"?|\'[^\'\n]*+\'?|[A-Za-z0-9_-]++|[ \t]++|.',
    re.DOTALL,
)


def json_value(content: bytes) -> Any:
    """Parse JSON within the limits of `check_json`.

    Raises:
        ValueError: it is no JSON, or beyond the limits.
    """
    check_json(content)
    return json.loads(content.decode("utf-8"))  # given bytes, it would guess UTF-16, which was not counted


def check_json(content: bytes) -> None:
    """Count the levels, values and digits of JSON, without checking its syntax.

    Raises:
        ValueError: there are more than `JSON_DEPTH`, `JSON_VALUES` or `JSON_DIGITS`.
    """
    deepest, most, longest = JSON_DEPTH.value, JSON_VALUES.value, JSON_DIGITS.value
    depth = values = 0
    for found in _JSON.finditer(content):
        first = content[found.start()]
        if first in b"[{":
            depth += 1
            values += 1
            if depth > deepest:
                raise ValueError(f"nested too deeply: {JSON_DEPTH.excess(depth)}")
        elif first in b"]}":
            depth -= 1
        elif first == 0x2C:
            values += 1
        elif first in b"-+.0123456789" and found.end() - found.start() > longest:
            raise ValueError(f"a number of {JSON_DIGITS.excess(found.end() - found.start())}")
        if values > most:
            raise ValueError(_too_many(JSON_VALUES))


def check_toml(text: str) -> None:
    """Count the levels of TOML: of brackets inside each other, and of dotted names.

    Raises:
        ValueError: there are more than `CONFIG_DEPTH`.
    """
    deepest = CONFIG_DEPTH.value
    above, dots = [0], 0  # levels above each open bracket, and those of the name that is being read
    for found in _TOML.finditer(text):
        word = found.group()
        if word in ("[", "{"):
            above.append(above[-1] + dots + 1)
            dots = 0
        elif word in ("]", "}"):
            dots = 0
            if len(above) > 1:
                above.pop()
        elif word == ".":
            dots += 1
        elif word in (",", "\n"):
            dots = 0
        if above[-1] + dots > deepest:
            raise ValueError(f"nested too deeply: {CONFIG_DEPTH.excess(above[-1] + dots)}")


def _too_many(limit: SizeLimit) -> str:
    return f"more than {limit.value:,} {limit.unit}; {limit.variable} raises the limit"
