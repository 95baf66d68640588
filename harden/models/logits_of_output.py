"""Selection of the logits in a network's output, and two logits for a single one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor

from harden.errors import InputError

LOGITS = "logits"


def select_logits(answer: object, output: str | int | None) -> Tensor:
    """Return the logits in a network's output.

    A tensor is returned unchanged, so a network may return more in training than in inference. Of another
    value it is the part named by `output`, a key, an attribute or a position, or the one named `logits`.

    Raises:
        InputError: there is no such part, or it is no tensor.
    """
    if isinstance(answer, Tensor):
        return answer
    wanted = LOGITS if output is None else output
    part = _part(answer, wanted)
    if isinstance(part, Tensor):
        return part
    if part is not None:
        seen = f"the network's output {wanted!r}, a {type(part).__name__}"
        raise InputError(seen, "a tensor of logits", "name another part: Classifier(network, output=...)")
    names = _names(answer)
    if not names:
        instead = "wrap it in a module that returns the logits alone"
    else:
        instead = f"name the part with the logits: Classifier(network, output={names[0]!r})"
    lacks = "" if output is None else f", which has no {output!r}"
    raise InputError(
        f"the network returned {_described(answer, names)}{lacks}", "a tensor of logits", instead
    )


def binary(logits: Tensor) -> Tensor:
    """Return logits (N, K) unchanged; one logit z, (N, 1) or (N,), as those of two classes: (0, z).

    sigmoid(z) = softmax((0, z))_1, so a positive z predicts the second class.
    """
    if logits.dim() == 1:
        logits = logits.unsqueeze(1)
    if logits.dim() == 2 and logits.shape[1] == 1:
        return torch.cat((torch.zeros_like(logits), logits), dim=1)
    return logits


def _part(answer: object, output: str | int) -> object:
    """Return the part of that name or at that position; None where there is none."""
    if isinstance(answer, Mapping):
        if output in answer:
            return answer[output]
        answer = tuple(answer.values())
    if isinstance(output, str):
        return getattr(answer, output, None)
    if isinstance(answer, list | tuple) and -len(answer) <= output < len(answer):
        return answer[output]
    return None


def _names(answer: object) -> list[str | int]:
    if isinstance(answer, Mapping):
        return [name for name in answer if isinstance(name, str | int)]
    if isinstance(answer, tuple) and (named := getattr(answer, "_fields", None)):
        return list(named)
    if isinstance(answer, list | tuple):
        return list(range(len(answer)))
    if is_dataclass(answer):
        return [field.name for field in fields(answer)]
    return []


def _described(answer: object, names: list[str | int]) -> str:
    kind = f"a {type(answer).__name__}"
    if not names or isinstance(names[0], int):
        return f"{kind} of {len(answer)}" if isinstance(answer, list | tuple) else kind
    shown = ", ".join(repr(name) for name in names[:6])
    return f"{kind} with {shown}{', ...' if len(names) > 6 else ''}"
