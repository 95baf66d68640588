"""The page on data: its code runs, block after block."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harden.data.sources.batch_fields import IMAGE_NAMES, LABEL_NAMES

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_blocks_of_the_page_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    space: dict[str, Any] = {"__name__": "a_readers_module"}
    for number, code in enumerate(blocks):
        exec(compile(code, f"docs/data.md, block {number}", "exec", dont_inherit=True), space)
    assert "5 of 5 test images are training images too (5 of 40)" in capsys.readouterr().out


def test_the_page_lists_every_usual_name() -> None:
    listed = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    assert {*IMAGE_NAMES, *LABEL_NAMES} <= listed
