"""Number of protobuf messages in an ONNX file, counted before parsing, which takes hundreds of bytes each."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import onnx

from harden.system.size_limits import MODEL_MESSAGES

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
_LONGEST: Final = 10
"""Bytes of a varint."""


def check_messages(data: bytes) -> None:
    """Refuse content of more messages than `MODEL_MESSAGES`; protobuf decides whether it is ONNX.

    Raises:
        InputError: there are more.
    """
    most = MODEL_MESSAGES.value
    count = 0
    open_: list[tuple[int, Any]] = [(len(data), onnx.ModelProto.DESCRIPTOR)]
    at = 0
    while open_:
        end, kind = open_[-1]
        if at >= end:
            open_.pop()
            continue
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _BYTES:
            length, at = _varint(data, at)
            inner = _messages_of(kind).get(tag >> 3)
            if at + length > end:
                return  # cut off: it does not parse
            if inner is None:
                at += length
                continue
            count += 1
            if count > most:
                MODEL_MESSAGES.check("an ONNX file", count)
            open_.append((at + length, inner))
        elif wire == _VARINT:
            _, at = _varint(data, at)
        elif wire in _WIDTHS:
            at += _WIDTHS[wire]
        else:
            return  # groups, which ONNX has none of: no field of its is kept


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and the offset after it; an unterminated one is 0 and the end of the content."""
    value = shift = 0
    for place in range(at, min(at + _LONGEST, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    return 0, len(data)


@cache
def _messages_of(kind: Any) -> dict[int, Any]:
    """The fields of a kind of message that hold messages themselves, by number."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
