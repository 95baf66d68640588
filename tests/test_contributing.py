"""The worked examples of CONTRIBUTING: each is added to a copy of the package and works as described."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harden

PACKAGE = Path(str(harden.__file__)).parent
PAGE = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```python\n# (harden/[\w/]+\.py)\n(.*?)```", re.DOTALL)
PRELUDE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "_editable" not in type(finder).__module__]
import torch
torch.set_num_threads(1)
import harden
assert harden.__file__.startswith(sys.argv[1]), harden.__file__
"""

Run = Callable[[str], str]


def _examples() -> dict[str, str]:
    return dict(BLOCK.findall(PAGE))


@pytest.fixture
def add(tmp_path: Path) -> Callable[..., Run]:
    """Copies the package, adds new files of the page to it, and gives a way to run Python there."""

    def added(*places: str) -> Run:
        copy = tmp_path / "harden"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for place in places:
            file = tmp_path / place
            assert not file.exists(), f"{place} is there already: the recipe names a new file"
            file.write_text(_examples()[place], encoding="utf-8")

        def run(code: str) -> str:
            ran = subprocess.run(
                [sys.executable, "-c", PRELUDE + code, str(tmp_path)],
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
            )
            assert ran.returncode == 0, ran.stderr
            return ran.stdout

        return run

    return added


def test_an_attack_is_one_file(add: Callable[..., Run]) -> None:
    run = add("harden/attacks/two_steps.py")
    out = run("""
from harden.attacks import PGD
from harden.attacks.two_steps import TwoSteps
from harden.data import load
from harden.description import describe, restore
from harden.draws import Draws
from harden.evaluation import Attempt
from harden.losses import CrossEntropy
digits = load("digits").test.take(torch.arange(40))
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
model = harden.Classifier(net)
for threat in (harden.Linf("1/10"), harden.L2(1), harden.L1(4)):
    x = digits.x.float()
    loss = CrossEntropy(model.logits, digits.y)
    found = TwoSteps()(loss, x, threat, Draws(0, torch.arange(len(x))))
    assert threat.contains(found, x).all()
    assert (loss(found) > loss(x)).float().mean() > 0.9
assert restore(describe(TwoSteps(share=0.25))) == TwoSteps(share=0.25)
result = harden.evaluate(model, digits, harden.Linf("1/10"), [Attempt("two-steps", TwoSteps(), CrossEntropy)])
print(result.attempts[0].name, result.attempts[0].broken > 0)
""")
    assert out.split() == ["two-steps", "True"]


def test_an_objective_is_one_file(add: Callable[..., Run]) -> None:
    run = add("harden/objectives/brier.py")
    out = run("""
from harden.data import load
from harden.objectives.brier import Brier
digits = load("digits")
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
train = digits.train.take(torch.arange(300))
hardened = harden.harden(
    harden.Classifier(net), train, threat=harden.Linf("1/20"), budget="30epochs", seed=0,
    recipe=harden.Recipe(finetune=Brier()),
)
x, y = digits.test.x.float(), digits.test.y
print(float((hardened.model.logits(x).argmax(1) == y).float().mean()))
""")
    assert float(out.split()[-1]) > 0.3  # guessing is right for a tenth
