"""Files for answers are refused before the work where they replace other things; the log's level."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli.options.shared_options import answer_file, show_log, writable
from harden.errors import InputError

Harden = Callable[..., Any]


def test_a_file_that_can_be_written_is_returned_and_not_made(tmp_path: Path) -> None:
    for path in (tmp_path / "new.json", tmp_path / "a" / "b" / "new.json"):
        assert answer_file(path) == writable(path) == path
    assert list(tmp_path.iterdir()) == []
    assert answer_file(None) is None


def test_a_folder_and_a_file_as_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file" / "below.json"):
        with pytest.raises(InputError, match="a file in a folder that can be written"):
            writable(path)


@pytest.mark.parametrize(
    "name", ["m.onnx", "d.npz", "w.safetensors", "w.pt", "w.pth", "n.py", "certificate.json"]
)
def test_models_data_and_sources_are_no_answers(tmp_path: Path, name: str) -> None:
    assert answer_file(tmp_path / name) == tmp_path / name  # a new file replaces nothing
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="which is there and is no answer"):
        answer_file(tmp_path / name)
    assert writable(tmp_path / name) == tmp_path / name
    (tmp_path / "answer.json").write_text("{}")
    assert answer_file(tmp_path / "answer.json") == tmp_path / "answer.json"


def test_the_log_has_warnings_alone_unless_more_is_requested() -> None:
    log = logging.getLogger("harden")
    before = log.level
    try:
        assert show_log(True)
        assert log.level == logging.INFO
        assert not show_log(False)
        assert log.level == logging.WARNING
    finally:
        log.setLevel(before)


@pytest.mark.parametrize("name", ["model.onnx", "certificate.json", "nets.py", "harden.toml"])
def test_an_answer_replaces_no_model_and_no_source(harden: Harden, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    for words in (("doctor", "--json"), ("check", "x.onnx", "--data", "digits", "--junit")):
        answer = harden(*words, tmp_path / name)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert answer.err.startswith(f"harden: {tmp_path / name}, which is there")
    assert (tmp_path / name).read_text() == "mine"
