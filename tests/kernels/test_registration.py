"""The compiled operations as torch sees them: schema, fake kernels, tracing, symbols."""

from __future__ import annotations

import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from harden import kernels
from harden.kernels import load_library, steps_reference

pytestmark = pytest.mark.usefixtures("native")


OPERATIONS = [
    "linf_step_",
    "l2_step_",
    "l1_step_",
    "l1_project_",
    "topk_threshold",
    "apgd_linf_step_",
    "apgd_l2_step_",
    "copy_rows_",
]
WRITTEN = {name: ["x_adv", "before"] for name in ("apgd_linf_step_", "apgd_l2_step_")}
ALLOWED = Path(__file__).parents[2] / "cpp_ext" / "allowed_symbols.txt"


def _arguments(
    layout: torch.memory_format, operation: str = "linf_step_", shape: tuple[int, ...] = (2, 3, 4, 4)
) -> list[torch.Tensor | float]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator).contiguous(memory_format=layout)
    grad = torch.randn(shape, generator=generator).contiguous(memory_format=layout)
    alpha, eps, k = torch.tensor(0.1), torch.rand(shape[0], generator=generator), torch.tensor([3.0])
    if operation == "l1_step_":
        return [x.clone(), x, grad, alpha, eps, k, 0.0, 1.0]
    if operation == "l1_project_":
        return [grad, x, eps, 0.0, 1.0]
    if operation == "topk_threshold":
        return [torch.zeros(shape[0]), grad, k]
    if operation in WRITTEN:
        return [x.clone(), grad.clone(), x, grad, alpha, eps, torch.tensor([0.75]), 0.0, 1.0]
    if operation == "copy_rows_":
        return [x.clone(), grad, eps > 0.5]
    return [x.clone(), x, grad, alpha, eps, 0.0, 1.0]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own tracing
def test_opcheck_passes(operation: str, layout: torch.memory_format) -> None:
    packet = getattr(torch.ops.harden, operation)
    outcome = torch.library.opcheck(packet.default, tuple(_arguments(layout, operation)))
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_schema_says_which_arguments_are_written(operation: str) -> None:
    schema = getattr(torch.ops.harden, operation).default._schema
    written = [argument.name for argument in schema.arguments if argument.is_write]
    assert written == WRITTEN.get(operation, [schema.arguments[0].name])
    assert list(schema.returns) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_fake_kernel_returns_nothing_and_touches_nothing(operation: str) -> None:
    with FakeTensorMode() as mode:
        arguments = [
            mode.from_tensor(argument) if isinstance(argument, torch.Tensor) else argument
            for argument in _arguments(torch.contiguous_format, operation)
        ]
        shape = arguments[0].shape  # type: ignore[union-attr]
        assert getattr(torch.ops.harden, operation)(*arguments) is None
    assert isinstance(arguments[0], torch.Tensor)
    assert arguments[0].shape == shape


@pytest.mark.parametrize("operation", OPERATIONS)
def test_empty_tensors_are_left_alone(operation: str) -> None:
    for shape in [(0,), (0, 3), (2, 0)]:
        arguments = _arguments(torch.contiguous_format, operation, shape)
        before = arguments[0].clone()  # type: ignore[union-attr]
        getattr(torch.ops.harden, operation)(*arguments)
        assert torch.equal(arguments[0], before)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_the_l1_step_checks_the_gradient_of_empty_tensors(shape: tuple[int, ...]) -> None:
    """Both answers: the type once was left unread where there is no element, and what stood there decided."""
    arguments = _arguments(torch.contiguous_format, "l1_step_", shape)
    torch.ops.harden.l1_step_(*arguments)
    grad = arguments[2]
    assert isinstance(grad, torch.Tensor)
    arguments[2] = grad.bfloat16()
    with pytest.raises(RuntimeError, match="every tensor has to be float32"):
        torch.ops.harden.l1_step_(*arguments)


def test_a_compiled_graph_computes_the_same() -> None:
    x_adv, *others = _arguments(torch.contiguous_format)
    assert isinstance(x_adv, torch.Tensor)

    def twice(start: torch.Tensor) -> torch.Tensor:
        moved = start.clone()
        for _ in range(2):
            torch.ops.harden.linf_step_(moved, *others)
        return moved

    expected = twice(x_adv)
    compiled = torch.compile(twice, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x_adv), expected)


def test_the_door_runs_what_backend_names() -> None:
    x_adv, *others = _arguments(torch.contiguous_format)
    assert isinstance(x_adv, torch.Tensor)
    with torch.profiler.profile() as profile:
        kernels.linf_step_(x_adv.clone(), *others)  # type: ignore[arg-type]
    assert "harden::linf_step_" in {event.name for event in profile.events() or ()}
    assert steps_reference.linf_step_ is not kernels.linf_step_


def _allowed(module: str) -> list[str]:
    sections: dict[str, list[str]] = {}
    section = ""
    for line in ALLOWED.read_text().splitlines():
        entry = line.partition("#")[0].strip()
        if entry.startswith("["):
            section = entry.strip("[]")
        elif entry:
            sections.setdefault(section, []).append(entry)
    return sections[module] + sections["any"]


@pytest.mark.parametrize("module", ["_cpu", "_cuda"])
def test_undefined_symbols_stay_within_the_allow_list(module: str) -> None:
    path = load_library.FOLDER / f"{module}.so"
    nm = shutil.which("nm")
    if nm is None or not path.exists():
        pytest.skip(f"needs nm and {path.name}")
    listing = subprocess.run([nm, "-D", path], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listing.splitlines()]
    undefined = {name for kind, name in symbols if kind == "U"}
    beyond = {name for name in undefined if not any(fnmatch(name, allowed) for allowed in _allowed(module))}
    assert undefined
    assert beyond == set()
    exported = {name for kind, name in symbols if kind not in "Uwv"}
    assert exported == {"harden_interface", "harden_build", "harden_register"}
