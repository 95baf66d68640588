"""The exporter's output is suppressed while it runs, and its error reduced to one line."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from harden.graph.exporting.exporter_messages import quiet, reason


def test_nothing_is_printed_logged_or_warned(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(record=True) as seen, quiet():
        assert logging.root.manager.disable == logging.CRITICAL
        print("a report")
        print("another", file=sys.stderr)
        logging.getLogger("torch.onnx").critical("a third")
        warnings.warn("a fourth", stacklevel=1)
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []
    assert seen == []


def test_what_was_set_before_is_set_again_after_an_error() -> None:
    before, level = sys.stdout, logging.root.manager.disable
    logging.disable(logging.DEBUG)
    try:
        with pytest.raises(KeyError), quiet():
            os.environ["HARDEN_NO_SUCH_VARIABLE"]
        assert logging.root.manager.disable == logging.DEBUG
        assert sys.stdout is before
    finally:
        logging.disable(level)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("first\nsecond", "first"),
        ("\n  \n  \x1b[31mred\x1b[0m words  \nmore", "red words"),
        ("", "no message"),
        ("x" * 500, "x" * 160),
    ],
)
def test_the_first_line_that_says_something(text: str, line: str) -> None:
    assert reason(ValueError(text)) == line


def test_what_lies_behind_an_error_is_its_reason() -> None:
    outer = RuntimeError("failed to export\nsee the report")
    outer.__cause__ = ValueError("a layer without ONNX")
    assert reason(outer) == "a layer without ONNX"
