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
PATCH = re.compile(r"```diff\n--- (harden/[\w/]+\.py)\n(.*?)```", re.DOTALL)
PRELUDE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "_editable" not in type(finder).__module__]
import torch
torch.set_num_threads(1)
torch.manual_seed(0)
import harden
assert harden.__file__.startswith(sys.argv[1]), harden.__file__
"""

BOUNDED = """
import numpy as np
import onnxruntime
from onnx import helper, numpy_helper
from harden.bounds import Program, Region, certify
from harden.bounds.crown.intermediate_bounds import relax
from harden.errors import InputError
from harden.graph import read
draws = np.random.default_rng(0)
weights = {name: draws.normal(size=size).astype(np.float32) for name, size in (("v", (6, 5)), ("w", (5, 3)))}
weights["v"] *= 8
nodes = [
    helper.make_node("MatMul", ["image", "v"], ["a"]),
    helper.make_node(KIND, ["a"], ["b"]),
    helper.make_node("MatMul", ["b", "w"], ["logits"]),
]
ports = [helper.make_tensor_value_info(n, 1, ["n", size]) for n, size in (("image", 6), ("logits", 3))]
tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
def runtime(x):
    return torch.from_numpy(session.run(None, {"image": x.numpy()})[0])
"""
SOUND = """
x = torch.rand(4, 6)
assert torch.allclose(read(model).run(x), runtime(x), atol=1e-5)
threat = harden.Linf("1/50")
program, labels = Program.of(read(model)), runtime(x).argmax(1)
with torch.no_grad():
    low, high = relax(program, Region.around(x, threat)).intervals[program.output]
margins = certify(program, x, labels, threat).margins
proved = 0
for at in range(len(x)):
    around = x[at].expand(2000, 6).contiguous()
    points = around + (torch.rand(2000, 6) * 2 - 1) / 50
    threat.project_(points, around)
    logits = runtime(points).double()
    assert (low[at] <= logits).all() and (logits <= high[at]).all()
    rest = logits[:, labels[at], None] - logits
    rest[:, labels[at]] = torch.inf
    assert rest.min() >= margins[at]
    proved += int(margins[at] > 0)
print("proved", proved)
"""

Run = Callable[[str], str]


def _examples() -> dict[str, str]:
    return dict(BLOCK.findall(PAGE))


def _patches(heading: str) -> dict[str, str]:
    """The changes to files that exist, by file, in a section of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(PATCH.findall(section))


def _apply(patch: str, text: str) -> str:
    """Replace the lines of each hunk that do not begin with + by those that do not begin with -."""
    for hunk in patch.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        assert text.count(before) == 1, f"{before!r} is not there once"
        text = text.replace(before, "".join(line[1:] for line in lines if line[0] != "-"))
    return text


@pytest.fixture
def add(tmp_path: Path) -> Callable[..., Run]:
    """Copies the package, adds new files of the page to it, and gives a way to run Python there."""

    def added(*places: str, patches: dict[str, str] | None = None) -> Run:
        copy = tmp_path / "harden"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for place, patch in (patches or {}).items():
            file = tmp_path / place
            file.write_text(_apply(patch, file.read_text(encoding="utf-8")), encoding="utf-8")
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


def test_an_operator_with_its_bound_is_two_files(add: Callable[..., Run]) -> None:
    patches = _patches("Adding an ONNX operator")
    assert len(patches) == 2
    out = add(patches=patches)(BOUNDED.replace("KIND", '"Atan"') + SOUND)
    assert out.startswith("proved ")
    assert int(out.split()[-1]) > 0


def test_a_bound_rule_that_is_missing_is_named(add: Callable[..., Run]) -> None:
    """The file is read all the same."""
    patches = _patches("Adding an ONNX operator")
    del patches["harden/bounds/rules/function_rules.py"]
    code = """
x = torch.rand(4, 6)
assert torch.allclose(read(model).run(x), runtime(x), atol=1e-5)
try:
    Program.of(read(model))
except InputError as error:
    print(error)
"""
    out = add(patches=patches)(BOUNDED.replace("KIND", '"Atan"') + code)
    assert "Atan (b: operation Atan has no bound rule)" in out


def test_a_bound_rule_is_one_file(add: Callable[..., Run]) -> None:
    patches = _patches("Adding a bound rule")
    assert len(patches) == 1
    out = add(patches=patches)(BOUNDED.replace("KIND", '"Sign"') + SOUND)
    assert int(out.split()[-1]) > 0
