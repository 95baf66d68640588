"""The plugin in sessions of its own: inert, missing, update, pass, fail, inconclusive, xdist."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import onnx
import pytest

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from harden.regression.pytest_checks import PytestCheck
from tests.fitted import fitted

pytest_plugins = ["pytester"]

TESTS = """
import pytest
import harden


@pytest.mark.harden(margin=0.05)
def test_scanner(robustness):
    robustness.check("model.onnx", "npz:few.npz", threat=harden.Linf("1/16"), attacks="quick")
"""

# An editable install's finder is loaded before pytest, which would rewrite it; a user's install has none.
STRICT = """[pytest]
filterwarnings =
    error
    ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, the second of which knows little, and 300 images."""
    digits, folder = load("digits"), tmp_path_factory.mktemp("models")
    for name, steps in (("good", 60), ("bad", 8)):
        onnx.save(trace(Classifier(fitted(digits, steps)), (1, 8, 8)), folder / f"{name}.onnx")
    x, y = digits.test.x[:300].permute(0, 2, 3, 1).numpy(), digits.test.y[:300].numpy()
    np.savez(folder / "few.npz", x_train=x[:20], y_train=y[:20], x_test=x, y_test=y)
    return folder


@pytest.fixture
def repository(models: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    folder = pytester.path
    (folder / "test_robustness.py").write_text(TESTS)
    (folder / "pytest.ini").write_text(STRICT)
    (folder / "few.npz").write_bytes((models / "few.npz").read_bytes())
    (folder / "model.onnx").write_bytes((models / "good.onnx").read_bytes())
    return folder


Session = Callable[..., pytest.RunResult]


@pytest.fixture
def session(pytester: pytest.Pytester, repository: Path) -> Session:
    """A pytest in the repository, in this process: torch is there already."""
    return lambda *words: pytester.runpytest_inprocess(*_WORDS, *words)


@pytest.fixture
def session_apart(pytester: pytest.Pytester) -> Session:
    """A pytest in a process of its own."""
    return lambda *words: pytester.runpytest_subprocess(*_WORDS, *words, timeout=300)


def _installed() -> bool:
    from importlib import metadata

    return any(point.value == "harden.pytest_plugin" for point in metadata.entry_points(group="pytest11"))


# `-p` loads the plugin where this checkout is not what is installed.
_WORDS = (
    "-p",
    "no:cacheprovider",
    "-p",
    "no:benchmark",
    *(() if _installed() else ("-p", "harden.pytest_plugin")),
)


def test_it_is_inert_and_loads_nothing(pytester: pytest.Pytester, session_apart: Session) -> None:
    (pytester.path / "test_nothing.py").write_text(
        "import sys\n\n\ndef test_nothing():\n"
        "    assert 'harden.pytest_plugin' in sys.modules\n"
        "    loaded = {'torch', 'scipy', 'numpy', 'pydantic', 'onnx', 'rich', 'typer'} & set(sys.modules)\n"
        "    assert not loaded\n"
    )
    (pytester.path / "pytest.ini").write_text("[pytest]\n")
    done = session_apart()
    assert done.ret == 0, done.stdout.str()
    assert "robustness" not in done.stdout.str()


def test_the_life_of_a_check(session: Session, repository: Path, models: Path) -> None:
    missing = session()
    assert missing.ret == 1
    assert "robustness-baseline.json; expected a baseline that was committed" in missing.stdout.str()
    command = "pytest test_robustness.py::test_scanner --harden-update-baseline"
    assert f"run `{command}` on the model to keep" in missing.stdout.str()
    skipped = session("--harden-allow-missing")
    assert (skipped.ret, "1 skipped" in skipped.stdout.str()) == (0, True)

    made = session(*command.split()[1:])
    assert made.ret == 0, made.stdout.str()
    assert "updated: test_robustness.py::test_scanner: linf 1/16 quick -> robust" in made.stdout.str()
    before = (repository / "robustness-baseline.json").read_bytes()
    assert list(json.loads(before)["checks"]) == ["test_robustness.py::test_scanner: linf 1/16 quick"]

    passed = session("--junit-xml", "junit.xml")
    assert passed.ret == 0, passed.stdout.str()
    assert "PASS: no drop" in passed.stdout.str()
    assert "kernels: " in passed.stdout.str()
    assert "robustness: robustness-baseline.json; harden " in passed.stdout.str()
    (case,) = Xml.parse(repository / "junit.xml").getroot().iter("testcase")
    properties = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    assert properties["harden.robust.state"] == "PASS"
    assert properties["harden.robust.n"] == "300"

    (repository / "model.onnx").write_bytes((models / "bad.onnx").read_bytes())
    failed = session()
    assert failed.ret == 1
    assert "significant drop" in failed.stdout.str()
    assert "Traceback" not in failed.stdout.str()
    refused = session("--harden-update-baseline")
    assert refused.ret == 1
    assert "no step down without a reason" in refused.stdout.str()
    assert (repository / "robustness-baseline.json").read_bytes() == before
    accepted = session("--harden-update-baseline", "--harden-accept-regression", "small")
    assert accepted.ret == 0, accepted.stdout.str()
    assert '"reason": "small"' in (repository / "robustness-baseline.json").read_text()


MORE = """
import numpy as np
import pytest
import torch
from torch import nn
import harden


@pytest.fixture
def few():
    arrays = np.load("few.npz")
    return torch.tensor(arrays["x_test"]).permute(0, 3, 1, 2), torch.tensor(arrays["y_test"])


@pytest.mark.parametrize("eps", ["1/50", "1/25"])
def test_network(robustness, few, eps):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    robustness.check(network, few, threat=harden.Linf(eps), attacks="quick", name="network")
"""


@pytest.mark.slow
def test_workers_of_xdist_share_a_baseline_and_the_summary_is_whole(
    session_apart: Session, session: Session, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "test_more.py").write_text(MORE)
    summary = repository / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    workers = ("-n", "2")
    assert session_apart(*workers, "--harden-update-baseline").ret == 0
    checks = json.loads((repository / "robustness-baseline.json").read_text())["checks"]
    assert sorted(checks) == [
        "network: linf 1/25 quick",
        "network: linf 1/50 quick",
        "test_robustness.py::test_scanner: linf 1/16 quick",
    ]
    done = session_apart(*workers)
    assert done.ret == 0, done.stdout.str()
    assert done.stdout.str().count("linf 1/25 quick: robust accuracy") == 1
    assert summary.read_text().count("### Robustness gate") == 3
    one = session("test_robustness.py")
    assert "not checked in this session: network: linf 1/25 quick" in one.stdout.str()


def test_few_images_and_what_a_marker_may_say(session: Session, repository: Path) -> None:
    few = ("--harden-max-images", "30")
    assert session(*few, "--harden-update-baseline").ret == 0
    warned = session(*few)
    assert warned.ret == 0, warned.stdout.str()
    assert "INCONCLUSIVE" in warned.stdout.str()
    failing = session(*few, "--harden-inconclusive", "fail")
    assert failing.ret == 1
    other = session()
    assert other.ret == 1
    assert "number of images (30 there, 300 here)" in other.stdout.str()
    text = TESTS.replace("margin=0.05", "margn=0.05")
    (repository / "test_robustness.py").write_text(text)
    wrong = session(*few)
    assert (wrong.ret, "margn" in wrong.stdout.str()) == (1, True)
    floor = TESTS.replace("margin=0.05", "floor=1.0")
    (repository / "test_robustness.py").write_text(floor)
    low = session(*few)
    assert (low.ret, "below the floor" in low.stdout.str()) == (1, True)


def test_what_is_no_answer_fails_and_says_why(
    session: Session, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The session's conftest replaces it, in this process: restored afterwards.
    monkeypatch.setattr(PytestCheck, "measurer", PytestCheck.measurer)
    few = ("--harden-max-images", "30")
    assert session(*few, "--harden-update-baseline").ret == 0
    whole = (repository / "model.onnx").read_bytes()
    (repository / "model.onnx").write_bytes(whole[: len(whole) // 2])
    corrupt = session(*few)
    assert corrupt.ret == 1
    assert "model.onnx does not load" in corrupt.stdout.str()
    assert "PASS" not in corrupt.stdout.str()
    (repository / "model.onnx").write_bytes(whole)

    kept = (repository / "few.npz").read_bytes()
    arrays = dict(np.load(repository / "few.npz"))
    arrays["x_test"] = 1 - arrays["x_test"]
    np.savez(repository / "few.npz", **arrays)
    other = session(*few)
    assert other.ret == 1
    assert "other than in the baseline" in other.stdout.str()
    assert "During handling" not in other.stdout.str()
    assert "PASS" not in other.stdout.str()
    (repository / "few.npz").write_bytes(kept)

    (repository / "conftest.py").write_text(
        "import harden.regression.pytest_checks\n\n\n"
        "def crash(*_):\n    raise RuntimeError('a fault of ours')\n\n\n"
        "harden.regression.pytest_checks.PytestCheck.measurer = crash\n"
    )
    broken = session(*few)
    assert broken.ret == 1
    assert "RuntimeError: a fault of ours" in broken.stdout.str()


SCORES_ALONE = """
import harden


def test_scores(robustness):
    robustness.check(
        "model.onnx", "npz:few.npz", threat=harden.Linf("1/8"), attacks="quick", name="scores", black_box=True
    )
"""


def test_a_file_that_can_not_be_read_is_checked_by_its_scores(
    session: Session, repository: Path, models: Path
) -> None:
    model = onnx.load(models / "good.onnx")
    for node in model.graph.node:
        node.output[:] = ["raw" if name == "logits" else name for name in node.output]
    # A growing function of each logit: the same classes, through an operator without a rule.
    model.graph.node.append(onnx.helper.make_node("Asinh", ["raw"], ["logits"]))
    onnx.save(model, repository / "model.onnx")
    (repository / "test_robustness.py").write_text(SCORES_ALONE)
    few = ("--harden-max-images", "12")
    made = session(*few, "--harden-update-baseline")
    assert made.ret == 0, made.stdout.str()
    (check,) = json.loads((repository / "robustness-baseline.json").read_text())["checks"].values()
    assert check["setting"]["evidence"] == "C"
    assert session(*few).ret == 0
    (repository / "test_robustness.py").write_text(SCORES_ALONE.replace(", black_box=True", ""))
    refused = session(*few)
    assert refused.ret == 1
    assert "evidence level (C there, A here)" in refused.stdout.str()
    assert "black_box=True" in refused.stdout.str()
    assert session(*few, "--harden-black-box").ret == 0


FOREIGN = "x\n::error::forged\x1b[2J\nverified: y ##[group]z"
NAMED = f"""
import harden


def test_named(robustness):
    robustness.check(
        "model.onnx", "npz:few.npz", threat=harden.Linf("1/8"), name={FOREIGN!r}, black_box=True
    )
"""


def test_names_of_strangers_are_text_in_every_line(
    session: Session, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = repository / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    (repository / "test_robustness.py").write_text(NAMED)
    few = ("--harden-max-images", "12")
    answers = [session(*few), session(*few, "--harden-update-baseline"), session(*few)]
    assert [answer.ret for answer in answers] == [1, 0, 0]
    # Named alone: it is in the baseline and nobody asks for it.
    (repository / "test_robustness.py").write_text(NAMED.replace(repr(FOREIGN), "'other'"))
    answers += [session(*few, "--harden-update-baseline"), session(*few)]
    assert "not checked in this session: x\\n::error::forged" in answers[-1].stdout.str()
    for answer in answers:
        for line in answer.outlines:
            assert line.isprintable()
            assert not line.startswith(("::", "verified"))
            assert "##[" not in line
    assert "\nverified" not in summary.read_text()
    assert "\x1b" not in summary.read_text()
