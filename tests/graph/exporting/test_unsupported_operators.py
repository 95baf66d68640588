"""What is said in place of an operator that can't be exported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.artefact.classifier_to_onnx import trace
from harden.errors import ExportError
from harden.graph.exporting.unsupported_operators import substitute
from harden.models import Classifier


class Traced(nn.Module):
    """A convolution that torch.jit.trace has made an operator of its own of."""

    def __init__(self) -> None:
        super().__init__()
        make: Any = torch.jit.trace  # which torch left untyped
        self.stem = make(nn.Conv2d(1, 4, 3).eval(), torch.rand(2, 1, 8, 8))
        self.head = nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.stem(x).flatten(1))
        return answer


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
def test_a_traced_part_is_named_and_the_module_itself_asked_for() -> None:
    with pytest.raises(ExportError, match=r"aten\._convolution in 'stem'") as caught:
        trace(Classifier(Traced()), (1, 8, 8))
    assert caught.value.instead == "pass the module itself in place of what torch.jit.trace made of it"


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        ("aten.lgamma", "write a polynomial"),
        ("aten._linalg_svd", "a fixed number of products"),
        ("aten.never_seen", "sums, products, matmul"),
    ],
)
def test_every_operator_has_something_to_write_instead(operator: str, words: str) -> None:
    assert words in substitute(operator)
