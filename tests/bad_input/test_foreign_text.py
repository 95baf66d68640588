"""Names that a stranger chose, wherever a command shows them: plain text, one line, no command."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from PIL import Image

from harden.cli.commands import verify_hook
from harden.data import Examples
from harden.errors import InputError
from harden.verifier import verify_command as door
from harden.verifier.verification import verify
from tests.bad_input.documents import places, put, write_sealed
from tests.bad_input.table import FAST, Answer, classes, pictures
from tests.verifier.conftest import build

Command = Callable[..., Answer]
EVIL = (
    "x\nverified: linf 8/255: robust accuracy at most 1.0",
    "x\r\x1b[2K\x1b[1Averified: y",
    "\x1b]0;title\x07\x9b31m",
    "::error title=forged::x",
    "\n::stop-commands::x",
    "##[error]forged",
    "##vso[task.complete result=Succeeded]",
    "[/b]",
    "[link=https://host]x[/link]",
    "<img src=https://host/pixel>",
    "](https://host) | x | `y`",
    "\u202egnp.\u2066x\u200b",
)
ALL = " ".join(EVIL)


def plain(answer: Answer) -> list[str]:
    """The lines of a command, after a look at each: nothing that a terminal or a CI system would act on."""
    lines = [*answer.out.split("\n"), *answer.err.split("\n")]
    for line in lines:
        assert line.isprintable(), line
        assert not line.strip().startswith("::"), line
        assert re.search(r"##\w*\[", line) is None, line
    assert "Traceback" not in answer.err
    assert answer.code != 70
    return [line for line in lines if line]


def texts(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where texts are."""
    return places(value, lambda each: isinstance(each, str))


def keyed(fields: Any, place: tuple[Any, ...], key: str) -> Any:
    """The same with the last name on the way to a place replaced."""
    changed = json.loads(json.dumps(fields))
    inner = changed
    for name in place[:-1]:
        inner = inner[name]
    if isinstance(inner, dict):
        inner[key] = inner.pop(place[-1])
    return changed


def test_the_verifier_says_verified_once_and_last_or_not_at_all(tmp_path: Path, command: Command) -> None:
    folder = build(tmp_path / "out")
    fields = json.loads((folder / "certificate.json").read_bytes())
    codes: set[int] = set()
    for place in texts({key: value for key, value in fields.items() if key != "seal"}):
        for change in (put, keyed):
            write_sealed(folder, change(fields, place, ALL))
            answer = command("verify", folder) if len(codes) < 2 else verified(folder, command)
            lines = plain(answer)
            codes.add(answer.code)
            assert [line.startswith("verified:") for line in lines].count(True) == (answer.code == 0)
            assert all(line.startswith(("holds ", "BROKEN", "verified:", "broken:")) for line in lines)
    assert codes == {0, 1}


def verified(folder: Path, command: Command) -> Answer:
    """As `harden verify`, without a process for the graph, which is the same in every turn."""

    with patch.object(door, "verify", lambda place: verify(place, isolated=False)):
        return command("verify", folder)


def test_the_page_is_text_and_so_is_the_summary(tmp_path: Path, command: Command) -> None:
    folder = build(tmp_path / "out")
    fields = json.loads((folder / "certificate.json").read_bytes())
    drawn = 0
    for place in texts(fields):
        write_sealed(folder, put(fields, place, ALL))
        answer = command("report", folder)
        plain(answer)
        if answer.code:
            continue
        drawn += 1
        page = (folder / "report.html").read_text()
        assert "<img src=https" not in page
        assert all(sign.isprintable() or sign in "\n\u202f" for sign in page), place
    assert drawn > 5


@pytest.fixture
def evil_data(place: Path) -> str:
    """Images of classes whose names are all that is evil."""
    x, y = pictures().permute(0, 2, 3, 1).numpy(), classes().numpy()
    names = np.array([*EVIL[:9], ALL])
    np.savez(place / "evil.npz", x_train=x, y_train=y, x_test=x[:20] / 2, y_test=y[:20], classes=names)
    return "npz:evil.npz"


def test_classes_in_an_evaluation_and_a_run(stocked: Path, evil_data: str, command: Command) -> None:
    words = ("--data", evil_data, "--eps", "1/50", *FAST)
    answer = command("evaluate", "bare.onnx", *words, "--json", "answer.json")
    assert answer.code in (0, 1), answer.err
    plain(answer)
    assert json.loads((stocked / "answer.json").read_text())
    answer = command("run", *words, "--budget", "1epochs", "--finetune", "standard", "--out", "evil")
    assert answer.code in (0, 1), answer.err
    plain(answer)
    assert command("verify", "evil").code == 0
    assert all(sign.isprintable() or sign in "\n\u202f" for sign in Path("evil/report.html").read_text())


@pytest.fixture
def evil_baseline(stocked: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A baseline whose label, reason and attempts are evil."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    words = ("--data", "npz:good.npz", "--eps", "1/50", "--attacks", "pgd", *FAST, "--label", ALL)
    made = command("baseline", "update", "bare.onnx", *words)
    plain(made)
    assert made.code == 0, made.err
    path = stocked / "robustness-baseline.json"
    fields = json.loads(path.read_bytes())
    (check,) = fields["checks"].values()
    accuracies = {name: outcome["accuracy"] for name, outcome in check["outcomes"].items()}
    check["accepted"] = [{"reason": ALL, "before": accuracies, "after": accuracies}]
    path.write_text(json.dumps(fields))
    return path


def test_a_baseline_is_shown_and_compared_as_text(evil_baseline: Path, command: Command) -> None:
    lines = plain(command("baseline", "show"))
    assert len(lines) == 2
    assert lines[1].startswith("  accepted: ")
    other = evil_baseline.with_name("other.json")
    fields = json.loads(evil_baseline.read_bytes())
    other.write_text(json.dumps(fields))
    plain(command("baseline", "diff", evil_baseline, other))
    for place in texts(fields):
        for change in (put, keyed):
            other.write_text(json.dumps(change(fields, place, ALL)))
            for words in (("show", "--baseline", other), ("diff", evil_baseline, other)):
                plain(command("baseline", *words))


def test_a_check_tells_a_job_nothing_but_its_answer(
    evil_baseline: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = evil_baseline.with_name("summary.md")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = {name: evil_baseline.with_name(f"answer.{name}") for name in ("junit", "md", "html", "json")}
    out = [word for name, path in files.items() for word in (f"--{name}", path)]
    good = command("check", "bare.onnx", "--data", "npz:good.npz", "--label", ALL, *out)
    assert good.code == 0, good.err
    plain(good)
    _harmless(summary, files)
    # No answer: the label that is asked for is one that the baseline lacks.
    for label in (*EVIL, ALL):
        summary.unlink(missing_ok=True)
        bad = command("check", "bare.onnx", "--data", "npz:good.npz", "--label", f"{label}?", *out)
        assert bad.code == 4
        told = [line for line in bad.out.splitlines() if line.startswith("::")]
        assert len(told) == 1
        assert told[0].startswith("::error title=harden check::")
        assert all(line.isprintable() for line in bad.out.splitlines())
        plain(Answer(bad.code, "", bad.err))
        _harmless(summary, files)


def _harmless(summary: Path, files: dict[str, Path]) -> None:

    for path in (summary, files["md"]):
        text = path.read_text()
        assert "<img" not in text
        assert re.search(r"(?<!\\)\]\(", text) is None
        assert all(sign.isprintable() or sign == "\n" for sign in text)
        assert "\nverified" not in text
    assert "<img" not in files["html"].read_text()
    assert "\x1b" not in files["html"].read_text()
    assert Xml.fromstring(files["junit"].read_text().partition("\n")[2]) is not None
    assert "\x1b" not in files["junit"].read_text()
    assert json.loads(files["json"].read_text())


@pytest.mark.parametrize("name", [text.replace("/", "|") for text in EVIL])
def test_names_of_folders_and_files(stocked: Path, command: Command, name: str) -> None:
    folder = Path(shutil.copytree("whole", name))
    assert command("verify", f"./{name}").code == 0
    for words in (
        ("report", f"./{name}"),
        ("verify", f"./{name}", "--json", f"./{name}/answer"),
        ("verify", f"{name}?"),
    ):
        plain(command(*words))
    (folder / "certificate.json").write_text("{")
    plain(command("verify", f"./{name}"))
    plain(command("report", f"./{name}"))
    plain(command("evaluate", f"./{name}", "--data", "npz:good.npz"))
    plain(command("evaluate", f"./{name}.onnx", "--data", f"npz:{name}.npz"))
    plain(command("run", "--data", f"folder:./{name}", "--out", f"./{name}/out"))


def test_the_hook_names_folders_as_text(stocked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree("whole", "a\nverified: b\x1b[2J"))
    capfd.readouterr()
    assert verify_hook.main([str(folder / "model.onnx")]) == 0
    said = capfd.readouterr()
    lines = plain(Answer(0, said.out, said.err))
    assert lines[0] == "a\\nverified: b\\x1b[2J:"
    assert [line.startswith("verified") for line in lines].count(True) == 1


@pytest.mark.parametrize("name", [b"\xff\xfe", b"caf\xe9"])
def test_a_class_whose_name_is_no_text_is_refused_before_any_work(
    place: Path, command: Command, name: bytes
) -> None:
    """A folder's name in another encoding: a certificate, which is Unicode, could not hold it."""

    for each in (name, b"dog"):
        folder = os.path.join(os.fsencode(place), b"data", each)
        os.makedirs(folder)
        for at in range(4):
            picture = Image.fromarray(np.full((8, 8), 40 * at, np.uint8))
            with open(os.path.join(folder, b"%d.png" % at), "wb") as file:
                picture.save(file, "PNG")
    answer = command("run", "--data", "folder:data", "--out", "out", *FAST)
    assert answer.code == 2
    (line,) = plain(answer)
    assert "\\udc" in line
    assert not (place / "out").exists()


def test_a_class_that_is_no_text_is_refused_wherever_data_come_from() -> None:
    for names in (("a", "\ud800"), ("a", "caf\udce9")):
        with pytest.raises(InputError, match="Unicode"):
            Examples(pictures()[:4], classes()[:4] % 2, names)
    with pytest.raises(InputError, match="Unicode"):
        Examples(pictures()[:4], classes()[:4] % 2, ("a", "b"), "caf\udce9")
