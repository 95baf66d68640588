"""Losses of logits as torch and callers see them: what is refused, schema, tracing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harden.errors import InputError
from harden.kernels import loss_grad_reference
from harden.kernels.loss_grad import LossGrad, dlr_grad_, targeted_dlr_grad_
from tests.kernels.rows_of_logits import DOORS, FIELDS


def _refused(**changed: Any) -> dict[str, Any]:
    logits = torch.zeros(2, 4)
    arguments = {"out": LossGrad.like(logits), "logits": logits, "y": torch.zeros(2, dtype=torch.int64)}
    return arguments | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"logits": torch.zeros(2, 4, dtype=torch.float64)},
        {"logits": torch.zeros(4)},
        {"logits": torch.zeros(2, 0)},
        {"logits": torch.zeros(2, 5)},
        {"logits": torch.zeros(2, 4, dtype=torch.bfloat16)},
        {"y": torch.zeros(2)},
        {"y": torch.zeros(3, dtype=torch.int64)},
        {"y": torch.zeros(2, dtype=torch.int64, device="meta")},
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any]) -> None:
    for door in DOORS.values():
        with pytest.raises(InputError) as caught:
            door(*[*_refused(**changed).values(), torch.zeros(2, dtype=torch.int64)])
        assert caught.value.instead


@pytest.mark.parametrize("name", ["targeted dlr", "targeted cross-entropy", "targeted margin"])
def test_wrong_targets_are_refused(name: str) -> None:
    for target in (torch.zeros(2), torch.zeros(3, dtype=torch.int64)):
        with pytest.raises(InputError, match="target of shape"):
            DOORS[name](*[*_refused().values(), target])


def test_a_ratio_of_too_few_classes_is_refused() -> None:
    logits, y = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match="K >= 3"):
        dlr_grad_(LossGrad.like(logits), logits, y)
    with pytest.raises(InputError, match="K >= 4"):
        targeted_dlr_grad_(LossGrad.like(torch.zeros(1, 3)), torch.zeros(1, 3), y, y)


def _raw(**changed: Any) -> list[Any]:
    logits, y = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
    out = LossGrad.like(logits)
    arguments = {field: getattr(out, field) for field in FIELDS}
    arguments |= {"logits": logits, "y": y, "target": y, "kind": 0}
    return list((arguments | changed).values())


RAW_REFUSED: dict[str, dict[str, Any]] = {
    "loss and margin have to be float32": {"loss": torch.zeros(2, dtype=torch.float64)},
    "wrong has to be bool": {"wrong": torch.zeros(2)},
    "both float32 or both bfloat16": {"logits": torch.zeros(2, 4, dtype=torch.bfloat16)},
    "have to be int64": {"target": torch.zeros(2)},
    "same shape": {"logits": torch.zeros(2, 5)},
    "the shape \\(N,\\)": {"y": torch.zeros(3, dtype=torch.int64)},
    "has to be contiguous": {"logits": torch.zeros(4, 2).T},
    "no loss of this kind": {"kind": 6},
    "needs 3 classes": {"logits": torch.zeros(2, 2), "dlogits": torch.zeros(2, 2), "kind": 2},
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("message", RAW_REFUSED)
def test_the_compiled_operation_checks_for_itself(message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        torch.ops.harden.loss_grad_(*_raw(**RAW_REFUSED[message]))


@pytest.mark.usefixtures("native")
def test_the_compiled_operation_refuses_shared_memory() -> None:
    logits, column = torch.zeros(2, 4), torch.zeros(2)
    for shared in ({"logits": logits, "dlogits": logits}, {"loss": column, "margin": column}):
        with pytest.raises(RuntimeError, match="share memory"):
            torch.ops.harden.loss_grad_(*_raw(**shared))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("kind", range(6))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own tracing
def test_opcheck_passes(kind: int) -> None:
    packet = torch.ops.harden.loss_grad_
    outcome = torch.library.opcheck(packet.default, tuple(_raw(kind=kind)))
    assert set(outcome.values()) == {"SUCCESS"}
    written = [argument.name for argument in packet.default._schema.arguments if argument.is_write]
    assert written == FIELDS
    assert loss_grad_reference.TARGETED_MARGIN == 5
