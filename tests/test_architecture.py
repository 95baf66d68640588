"""Rules for the whole package: names, forbidden calls, imports; each is shown to fire on a breach."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harden

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "harden"
LIBRARY = ROOT / "cpp_ext"
LONGEST_FILE = 300
MOST_PUBLIC_NAMES = 20

PYTHON = sorted(PACKAGE.rglob("*.py"))
NATIVE = sorted(
    path
    for path in LIBRARY.rglob("*")
    if path.suffix in {".h", ".c", ".cpp", ".cu"}
    # The build's own files lie below `editable`.
    and "editable" not in path.relative_to(LIBRARY).parts
)
PRINTERS = ("standard_streams.py", "cli/output/console.py")
"""The modules of output, which escape foreign text; all others return values to them."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _parsed() -> Iterator[tuple[Path, ast.Module]]:
    for path in PYTHON:
        yield path, ast.parse(path.read_text(encoding="utf-8"), filename=_name(path))


def test_the_files_are_found() -> None:
    """All tests below go through these lists: an empty one would pass."""
    assert {"harden/threats/linf.py", "harden/attacks/pgd.py"} <= {_name(path) for path in PYTHON}
    assert {"cpp_ext/linf.h", "cpp_ext/cpu/linf.cpp", "cpp_ext/cuda/linf.cu"} <= {
        _name(path) for path in NATIVE
    }


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE], ids=_name)
def test_no_file_is_longer_than_a_few_screens(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


# Names


def test_there_are_few_public_names_and_every_one_is_there() -> None:
    assert len(harden.__all__) == len(set(harden.__all__)) <= MOST_PUBLIC_NAMES
    for name in harden.__all__:
        assert getattr(harden, name).__name__ == name
        assert name in dir(harden)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = harden.Nothing


def test_type_checkers_see_the_same_names_from_the_same_homes() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    assert len(blocks) == 1
    seen = {}
    for node in blocks[0].body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # `x as x` is what re-exports
            seen[alias.name] = node.module
    assert sorted(seen) == sorted(harden.__all__)
    for name, module in seen.items():
        assert module is not None
        assert getattr(importlib.import_module(module), name) is getattr(harden, name)


def test_every_submodule_can_be_reached_by_its_path() -> None:
    for name in sorted(set(dir(harden)) - set(harden.__all__) - {"__version__"}):
        assert getattr(harden, name) is importlib.import_module(f"harden.{name}")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", harden.__version__)


VAGUE = re.compile(r"utils?|helpers?|misc|common|manager|base(?!lines?(_|$)).*", re.IGNORECASE)


def _vague_names(tree: ast.Module) -> list[str]:
    """Classes whose name, cut into its words, says nothing: FooManager, BaseFoo, HelperOfFoo."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            words = re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+|[A-Z]+(?![a-z])", node.name)
            if words[:1] == ["Base"] or {"Manager", "Utils", "Util", "Helper", "Helpers"} & set(words):
                found.append(node.name)
    return found


def test_names_say_what_things_are() -> None:
    parts = {part for path in PYTHON for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert [part for part in parts if VAGUE.fullmatch(part)] == []
    assert [name for _, tree in _parsed() for name in _vague_names(tree)] == []


# What the code may not contain


def _asserts(tree: ast.Module) -> list[int]:
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


def _prints(tree: ast.Module) -> list[int]:
    """Output past these modules: by Python, by a standard stream, by click or typer, or by rich."""
    calls = {"print", "console.print", "typer.echo", "typer.secho", "click.echo", "click.secho"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [node.lineno] * (ast.unparse(node.func) in calls)
        elif isinstance(node, ast.Attribute):
            found += [node.lineno] * (ast.unparse(node) in {"sys.stdout", "sys.stderr"})
        elif isinstance(node, ast.Import):
            found += [node.lineno for alias in node.names if alias.name.split(".")[0] == "rich"]
        elif isinstance(node, ast.ImportFrom):
            found += [node.lineno] * ((node.module or "").split(".")[0] == "rich")
    return found


def _uses_of_the_front_door(tree: ast.Module) -> list[int]:
    """`import harden` and `from harden import X` for an X that is no module below it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name == "harden" for alias in node.names):
            found.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and (node.module == "harden" or node.level):
            inner = [
                (PACKAGE / name.name).is_dir() or (PACKAGE / f"{name.name}.py").is_file()
                for name in node.names
            ]
            if node.level or not all(inner):
                found.append(node.lineno)
    return found


WRITERS = ("system/atomic_files.py", "system/safe_folders.py", "system/folder_lock.py")
"""The modules that write to the disk, through no link; all others call their functions."""
_METHODS = {
    "write_text", "write_bytes", "touch", "mkdir", "rmdir", "unlink", "rename", "symlink_to", "hardlink_to",
    "chmod", "truncate",
}  # fmt: skip
_CALLS = re.compile(
    r"os\.(open|write|mkdir|makedirs|remove|unlink|rename|replace|rmdir|removedirs|link|symlink|truncate|chmod"
    r"|mkfifo)|shutil\.(rmtree|move|copy\w*)|tempfile\.\w+|(torch|onnx)\.save\w*|save_file|save_model"
)


def _is_writing_mode(node: ast.Call) -> bool:
    """An open() whose mode is not seen to read alone."""
    method = isinstance(node.func, ast.Attribute)
    given = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    given += node.args[0 if method else 1 :][:1]
    modes = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return any(re.fullmatch(r"[rwaxbt+]+", mode) and re.search("[wax+]", mode) for mode in modes)


def _writes(tree: ast.Module) -> list[int]:
    """Writing, moving or removing past these modules; numpy writes to a `buffer` in memory alone."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        method = isinstance(node.func, ast.Attribute)
        replaces = method and name == "replace" and len(node.args) == 1 and not node.keywords
        saves = re.fullmatch(r"(np|numpy)\.save\w*", called) and ast.unparse(node.args[0]) != "buffer"
        opens = name == "open" and called != "os.open" and _is_writing_mode(node)
        if (method and name in _METHODS) or _CALLS.fullmatch(called) or replaces or saves or opens:
            found.append(node.lineno)
    return found


ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def _is_version_text(node: ast.expr) -> bool:
    """x.__version__, torch.version.cuda, version("torch"), or a literal such as "2.10"."""
    text = ast.unparse(node)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and re.match(r"\d+\.\d", node.value) is not None
    if isinstance(node, ast.Call):
        return re.fullmatch(r"(importlib\.)?(metadata\.)?version", ast.unparse(node.func)) is not None
    return isinstance(node, ast.Attribute) and (text.endswith("__version__") or ".version." in text)


def _string_comparisons_of_versions(tree: ast.Module) -> list[int]:
    """ "2.9" > "2.10" as strings, and "2.1" is what "2.14" starts with."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            ordered = any(isinstance(operator, ORDER) for operator in node.ops)
            literal = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)
            if (ordered or literal) and any(_is_version_text(side) for side in sides):
                found.append(node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            prefix = node.func.attr == "startswith" and _is_version_text(node.func.value)
            found += [node.lineno] * prefix
    return found


DRAWS = re.compile(
    r"torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial)"
    r"|.+\.(random|uniform|normal|bernoulli)_"
)
FOR_EVERYBODY = re.compile(
    r"(torch|torch\.cuda)\.(manual_seed|manual_seed_all|seed)|random\.seed"
    r"|(np|numpy)\.random\.(seed|rand|randn|randint|permutation|shuffle|choice)"
)


def _global_randomness(tree: ast.Module) -> list[int]:
    """Draws without a generator, and seeds set for everybody."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            ours = any(keyword.arg == "generator" for keyword in node.keywords)
            if FOR_EVERYBODY.fullmatch(called) or (DRAWS.fullmatch(called) and not ours):
                found.append(node.lineno)
    return found


Rule = Callable[[ast.Module], list[int]]
RULES: list[tuple[Rule, tuple[str, ...], list[str], list[str]]] = [
    (_asserts, (), ["assert x"], ["raise ValueError"]),
    (
        _prints,
        PRINTERS,
        [
            "print(1)",
            "def f():\n    print()",
            "sys.stdout.write('x')",
            "log(stream=sys.stderr)",
            "typer.echo(name)",
            "from rich.table import Table",
            "import rich",
            "console.print(f'{name}')",
        ],
        ["say(1)", "fingerprint(1)", "sys.stdin.buffer", "import richer"],
    ),
    (
        _writes,
        WRITERS,
        [
            "path.write_text('x')",
            "Path(name).open('w')",
            "open(name, mode='ab')",
            "open(name, 'r+b')",
            "place.mkdir(parents=True)",
            "source.replace(target)",
            "os.replace(source, target)",
            "os.open(path, flags)",
            "shutil.rmtree(folder)",
            "np.savez(path, x=x)",
            "torch.save(x, path)",
            "with tempfile.TemporaryDirectory() as name: pass",
        ],
        [
            "path.open('rb')",
            "Image.open(file)",
            "archive.open(member)",
            "text.replace('a', 'b')",
            "replace(plan, minutes=None)",
            "np.save(buffer, x)",
            "write_text(path, 'x')",
        ],
    ),
    (
        _uses_of_the_front_door,
        ("__init__.py",),
        [
            "import harden",
            "from harden import Linf",
            "from harden import kernels, PGD",
            "from . import threats",
        ],
        ["from harden import kernels", "from harden.threats import Linf", "import harden.kernels"],
    ),
    (
        _string_comparisons_of_versions,
        (),
        [
            "torch.__version__ >= '2.10'",
            "if torch.__version__ < OLDEST: pass",
            "torch.version.cuda > '12'",
            "version('torch') >= wanted",
            "torch.__version__.startswith('2.1')",
            "torch.__version__ == '2.10.0'",
            "found < '2.10'",
        ],
        ["torch_release(torch.__version__) < (2, 10)", "torch.version.cuda is None", "name == 'torch'"],
    ),
    (
        _global_randomness,
        ("training/global_rng.py",),  # the one place that sets a seed, in a context that restores it
        [
            "torch.rand(3)",
            "torch.manual_seed(0)",
            "x.uniform_(-1, 1)",
            "np.random.rand(3)",
            "torch.randperm(n)",
        ],
        ["torch.rand(3, generator=g)", "torch.Generator().manual_seed(0)", "draws.uniform((3,))"],
    ),
]


@pytest.mark.parametrize(("rule", "breaches", "fine"), [(rule, bad, good) for rule, _, bad, good in RULES])
def test_a_rule_fires_on_a_breach_and_on_nothing_else(
    rule: Rule, breaches: list[str], fine: list[str]
) -> None:
    for code in breaches:
        assert len(rule(ast.parse(code))) == 1, code
    for code in fine:
        assert rule(ast.parse(code)) == [], code


@pytest.mark.parametrize(("rule", "exempt"), [(rule, exempt) for rule, exempt, _, _ in RULES])
def test_the_library_keeps_its_rules(rule: Rule, exempt: tuple[str, ...]) -> None:
    breaches = [
        f"{_name(path)}:{line}"
        for path, tree in _parsed()
        if not path.relative_to(PACKAGE).as_posix().startswith(exempt)
        for line in rule(tree)
    ]
    assert breaches == []


def test_a_vague_class_name_is_noticed() -> None:
    tree = ast.parse(
        "class BaseAttack: ...\nclass RunManager: ...\nclass DataUtils: ...\nclass Baseline: ..."
    )
    assert _vague_names(tree) == ["BaseAttack", "RunManager", "DataUtils"]


# What imports what


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_import_contracts_hold() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = configured["tool"]["importlinter"]["contracts"]
    assert {contract["type"] for contract in contracts} == {"layers", "forbidden"}
    assert contracts[0]["exhaustive"] is True
    ran = _run(
        "import importlinter.cli, sys; sys.exit(importlinter.cli.lint_imports(no_cache=True, no_logo=True))"
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(contracts)} kept, 0 broken" in ran.stdout


LEAN = """
import json, sys
{code}
sys.stdout.flush()
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
HEAVY = {"torch", "torchvision", "accelerate", "scipy", "sklearn"}
"""1.7 seconds, most of it torch."""


@pytest.mark.parametrize(
    ("code", "says", "without"),
    [
        ("import harden", "", HEAVY | {"numpy", "pydantic", "typer", "onnx", "onnxruntime", "rich"}),
        ("import harden; dir(harden); harden.__version__", "", HEAVY | {"numpy"}),
        ("import harden.pytest_plugin", "", HEAVY | {"numpy", "pydantic", "typer", "onnx", "rich"}),
        ("import harden.certificate.certificate_file", "", HEAVY | {"onnxruntime"}),
        ("import harden.verifier.verification", "", HEAVY | {"pydantic", "typer", "jinja2"}),
        ("from harden.cli import main; code = main(['--help'])\nassert code == 0", "verify", HEAVY),
        (
            "from harden.cli import main; code = main(['verify', '--help'])\nassert code == 0",
            "usage: harden verify",
            HEAVY | {"pydantic", "typer", "jinja2", "rich"},
        ),
    ],
)
def test_it_starts_without_what_it_does_not_need(code: str, says: str, without: set[str]) -> None:
    ran = _run(LEAN.format(code=code))
    assert ran.returncode == 0, ran.stderr
    *output, modules = ran.stdout.splitlines()
    loaded = set(json.loads(modules))
    assert says in "\n".join(output)
    assert "harden" in loaded
    assert loaded & without == set()


def test_the_watch_on_imports_sees_torch() -> None:
    ran = _run(LEAN.format(code="import harden; harden.Linf"))
    assert "torch" in json.loads(ran.stdout.splitlines()[-1])
