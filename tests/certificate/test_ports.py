"""Names of input and output: an exported file has them, and a file with others is none of ours."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from harden.artefact.runtime.session import Session
from harden.certificate.ports import INPUT, OUTPUT
from harden.errors import InputError

EARLIER = Path(__file__).parents[1] / "earlier_versions" / "made" / "run" / "model.onnx"


def renamed(old: str, new: str) -> bytes:
    """The file of an earlier version with another name for one of its values."""
    model = onnx.load(EARLIER)
    for port in (*model.graph.input, *model.graph.output):
        port.name = new if port.name == old else port.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    content: bytes = model.SerializeToString()
    return content


def test_the_names_are_those_of_every_file_so_far() -> None:
    """A program that runs an artefact's file names its input: another name would break it."""
    graph = onnx.load(EARLIER).graph
    held = {each.name for each in graph.initializer}
    assert [port.name for port in graph.input if port.name not in held] == [INPUT]
    assert [port.name for port in graph.output] == [OUTPUT]


@pytest.mark.parametrize("old", [INPUT, OUTPUT])
def test_a_file_with_other_names_is_not_one_that_was_exported(old: str) -> None:
    Session(renamed(old, old))
    with pytest.raises(InputError, match=rf"'other'.*; expected {INPUT} .* -> {OUTPUT} .*; use a model that"):
        Session(renamed(old, "other"))
