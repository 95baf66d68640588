"""An interrupted evaluation goes on to the same result, and with nothing else than its own batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from harden.data import Splits
from harden.errors import HardenError, InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, evaluate, pgd_suite
from harden.evaluation.results.evaluation_journal import PLAN_FILE
from harden.losses import LossFunction
from harden.models import Classifier
from harden.threats import L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT, SUITE, SIZE = Linf("0.1"), pgd_suite(steps=5, restarts=1), 16
Data = tuple[Tensor, Tensor]


class Stopped(Exception):
    pass


def same(one: Evaluation, other: Evaluation) -> bool:
    """All but the seconds."""
    for name in ("labels", "predictions", "broken", "broken_by", "broken_at"):
        if not torch.equal(getattr(one, name), getattr(other, name)):
            return False
    arrays = [
        torch.equal(getattr(one.witnesses, f.name), getattr(other.witnesses, f.name))
        for f in fields(one.witnesses)
    ]
    reported = [
        [(r.name, r.spec, r.attempted, r.broken, r.robust, r.passes) for r in each.attempts]
        for each in (one, other)
    ]
    return (
        all(arrays)
        and reported[0] == reported[1]
        and one.checks == other.checks
        and one.passes == other.passes
    )


@pytest.fixture
def data(digits: Splits) -> Data:
    return digits.test.x[:60], digits.test.y[:60]


def interrupted(model: Classifier, data: Data, folder: Path, after: int) -> None:
    def stop(at: EvaluationProgress) -> None:
        if at.done >= after:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(model, data, THREAT, SUITE, batch_size=SIZE, journal=folder, on_batch=stop)


@pytest.mark.parametrize("after", [1, 17, 60])
def test_going_on_gives_what_an_undisturbed_evaluation_gives(
    plain: Classifier, data: Data, tmp_path: Path, after: int
) -> None:
    whole = evaluate(plain, data, THREAT, SUITE, batch_size=SIZE)
    interrupted(plain, data, tmp_path / "state", after)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").glob("batch*")}
    assert len(kept) == -(-min(after, 60) // SIZE)
    found = evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=tmp_path / "state")
    assert same(found, whole)
    assert 3 < len(found.witnesses) < 60
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").glob("batch*")}
    assert kept.items() <= now.items()


def test_a_finished_one_costs_a_look_at_its_first_batch(
    plain: Classifier, data: Data, tmp_path: Path
) -> None:
    queried: list[int] = []

    def judge(x: Tensor) -> Tensor:
        queried.append(len(x))
        return plain.logits(x)

    first = evaluate(plain, data, THREAT, SUITE, judge=judge, batch_size=SIZE, journal=tmp_path / "state")
    queried.clear()
    again = evaluate(plain, data, THREAT, SUITE, judge=judge, batch_size=SIZE, journal=tmp_path / "state")
    assert same(again, first)
    assert queried == [SIZE]


def test_a_kill_loses_the_batch_it_struck_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import os, signal, sys, torch\n"
        "from torch import nn\n"
        "from harden.evaluation import evaluate, pgd_suite\n"
        "from harden.models import Classifier\n"
        "from harden.threats import Linf\n"
        "torch.set_num_threads(1)\n"
        "torch.manual_seed(0)\n"
        "model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))\n"
        "generator = torch.Generator().manual_seed(0)\n"
        "x = torch.rand(40, 3, 2, 2, generator=generator)\n"
        "y = model.logits(x).argmax(1)\n"
        "def on(at):\n"
        "    if at.done == int(sys.argv[2]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "found = evaluate(\n"
        "    model, (x, y), Linf('0.05'), pgd_suite(3, 1), batch_size=8, journal=sys.argv[1], on_batch=on\n"
        ")\n"
        "print(found.broken.int().tolist(), found.broken_at.tolist(), found.robust)\n"
    )

    def run(folder: str, kill_at: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(script), str(tmp_path / folder), str(kill_at)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    whole = run("whole", 0)
    assert whole.returncode == 0, whole.stderr
    assert run("killed", 16).returncode == -signal.SIGKILL
    assert run("killed", 32).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed").glob("batch*"))) == 4
    assert run("killed", 0).stdout == whole.stdout
    assert "1" in whole.stdout


def test_other_weights_threats_attempts_seeds_and_data_are_refused(
    plain: Classifier, hardened: Classifier, data: Data, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    interrupted(plain, data, folder, 17)
    turned = (data[0].flip(0), data[1].flip(0))

    def call(
        model: Classifier = plain,
        on: Data = data,
        threat: Threat = THREAT,
        suite: tuple[Attempt, ...] = SUITE,
        **more: Any,
    ) -> Evaluation:
        return evaluate(model, on, threat, suite, journal=folder, **{"batch_size": SIZE, **more})

    others: dict[str, Callable[[], Evaluation]] = {
        "weights": lambda: call(hardened),
        "threat": lambda: call(threat=L2(1)),
        "attempts": lambda: call(suite=SUITE[:1]),
        "seed": lambda: call(seed=1),
        "batch 0": lambda: call(on=turned),
        "images or labels": lambda: call(batch_size=7),
        "judge": lambda: call(judge=lambda x: -plain.logits(x)),
    }
    for name, ask in others.items():
        with pytest.raises(InputError, match=name):
            ask()
    # Nothing of that was written.
    whole = evaluate(plain, data, THREAT, SUITE, batch_size=SIZE)
    assert same(evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=folder), whole)


def test_a_folder_of_other_things_and_damaged_files_are_refused(
    plain: Classifier, data: Data, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in (other, tmp_path / "file"):
        with pytest.raises(InputError, match="no journal"):
            evaluate(plain, data, THREAT, SUITE, journal=place)
    assert (other / "notes.txt").read_text() == "mine"
    folder = tmp_path / "state"
    interrupted(plain, data, folder, 17)
    path = folder / "batch-000001.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="batch-000001"):
        evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=folder)
    (folder / PLAN_FILE).write_text("{")
    with pytest.raises(InputError, match=PLAN_FILE):
        evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=folder)


def test_one_process_at_a_time_writes_to_it(plain: Classifier, data: Data, tmp_path: Path) -> None:
    interrupted(plain, data, tmp_path / "state", 17)
    held = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from harden.system.folder_lock import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", held, str(tmp_path / "state")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process"):
            evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=tmp_path / "state")
        other.communicate("")
    whole = evaluate(plain, data, THREAT, SUITE, batch_size=SIZE)
    assert same(evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=tmp_path / "state"), whole)


def test_the_plan_says_what_was_evaluated(plain: Classifier, data: Data, tmp_path: Path) -> None:
    interrupted(plain, data, tmp_path, 1)
    plan = json.loads((tmp_path / PLAN_FILE).read_text())
    assert plan["threat"] == 'Linf("1/10")'
    assert [attempt["name"] for attempt in plan["attempts"]] == ["pgd-5-ce", "pgd-5-margin"]
    assert len(plan["weights"]) == 64


def test_a_full_disk_is_an_error_and_the_batches_before_are_kept(
    plain: Classifier, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(plain, data, tmp_path / "state", 17)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, HardenError), match="No space left"):
        evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=tmp_path / "state")
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "batch-000000.safetensors",
        "batch-000001.safetensors",
        PLAN_FILE,
    ]
    whole = evaluate(plain, data, THREAT, SUITE, batch_size=SIZE)
    assert same(evaluate(plain, data, THREAT, SUITE, batch_size=SIZE, journal=tmp_path / "state"), whole)


# Minutes


def test_when_time_is_up_the_finished_batches_are_the_result(
    plain: Classifier, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[int] = []

    def noted(loss: LossFunction, x: Tensor, threat: Threat, draws: object) -> Tensor:
        met.append(len(x))
        return x

    clock = SimpleNamespace(monotonic=lambda: 61.0 if len(met) >= 3 else 0.0)
    attempts = (*SUITE, Attempt("noted", noted))
    whole = evaluate(plain, data, THREAT, attempts, batch_size=SIZE)
    met.clear()
    monkeypatch.setattr("harden.evaluation.time_limit.time", clock)
    found = evaluate(plain, data, THREAT, attempts, batch_size=SIZE, minutes=1)
    assert not found.complete
    # The third batch was under way; what it had found so far is in no number.
    assert (len(found.labels), found.left) == (2 * SIZE, 60 - 2 * SIZE)
    assert whole.complete
    assert torch.equal(found.broken, whole.broken[: 2 * SIZE])
    assert found.robust.n == 2 * SIZE


def test_too_little_time_for_one_batch_and_no_time_at_all_are_refused(plain: Classifier, data: Data) -> None:
    with pytest.raises(InputError, match="no image that was finished in 1e-09 minutes"):
        evaluate(plain, data, THREAT, SUITE, minutes=1e-9)
    for minutes in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="positive"):
            evaluate(plain, data, THREAT, SUITE, minutes=minutes)
