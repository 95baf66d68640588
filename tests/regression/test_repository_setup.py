"""Files that gate a repository's model: nothing of a template remains open, and awkward text is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.regression.repository_setup import GITLAB, GITLAB_INCLUDED, GateTarget

TARGET = GateTarget("nets/a b.onnx", "npz:data/x.npz", "l2", "0.5", "harden>=0.1")


def test_every_place_of_the_templates_is_filled(tmp_path: Path) -> None:
    files = {str(path.relative_to(tmp_path)): text for path, text in TARGET.files(tmp_path).items()}
    assert set(files) == {
        "harden.toml",
        "tests/test_robustness.py",
        ".github/workflows/robustness.yml",
        GITLAB,
    }
    assert not [name for name, text in files.items() if re.search(r"<<\w+>>", text)]
    options = tomllib.loads(files["harden.toml"])
    assert (options["data"], options["norm"], options["eps"]) == ("npz:data/x.npz", "l2", "0.5")
    code = files["tests/test_robustness.py"]
    compile(code, "test_robustness.py", "exec")
    assert 'harden.L2("1/2")' in code
    for job in (files[".github/workflows/robustness.yml"], files[GITLAB]):
        assert "harden check 'nets/a b.onnx' --config harden.toml" in job
        assert "harden>=0.1" in job
    assert list(tmp_path.iterdir()) == []  # nothing is written


@pytest.mark.parametrize("own", ["test:\n  script: [make]\n", ""])
def test_a_pipeline_of_the_repositorys_own_is_left_and_ours_is_replaced(tmp_path: Path, own: str) -> None:
    (tmp_path / GITLAB).write_text(own)
    assert tmp_path / GITLAB_INCLUDED in TARGET.files(tmp_path)
    (tmp_path / GITLAB).unlink()
    ours = TARGET.files(tmp_path)[tmp_path / GITLAB]
    (tmp_path / GITLAB).write_text(ours)
    assert TARGET.files(tmp_path)[tmp_path / GITLAB] == ours


@pytest.mark.parametrize("option", ["model", "data", "install"])
@pytest.mark.parametrize(
    "text", ['a"b', "a'b", "a\\b", "a`b", "$x", "{{ x }}", "<<eps>>", "-x", " a", "a\nb"]
)
def test_text_that_not_all_files_can_hold_is_refused(option: str, text: str) -> None:
    given = {"model": "m.onnx", "data": "digits", "norm": "linf", "eps": "8/255"}
    with pytest.raises(InputError, match="without quotes, backslashes") as caught:
        GateTarget(**{**given, option: text})
    assert caught.value.seen.startswith(f"--{option} ")


def test_an_unknown_threat_is_refused() -> None:
    for norm, eps in (("linff", "8/255"), ("linf", "8")):
        with pytest.raises(InputError):
            GateTarget("m.onnx", "digits", norm, eps)


@pytest.mark.parametrize(
    ("data", "needed"),
    [("digits", []), ("npz:d.npz", ["d.npz"]), ("folder:images", ["images"]), ("hf:name", [])],
)
def test_the_data_are_needed_where_they_are_files_of_the_repository(data: str, needed: list[str]) -> None:
    assert GateTarget("m.onnx", data, "linf", "8/255").needed_files == ["m.onnx", *needed]


def test_a_requirement_that_is_given_is_taken_as_it_is() -> None:
    assert TARGET.requirement() == ("harden>=0.1", True)
