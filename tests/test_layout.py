"""The layout of harden/ and tests/, the names in them, and their language; each rule is shown to fire.

Exceptions are written out below, each with its reason or with a list that may only shrink: an exception that
is no longer needed fails `test_exceptions_are_still_needed`, which names the lines to delete.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = ROOT / "harden", ROOT / "tests"

WIDEST_FOLDER = 16
MOST_PARAMETERS = 6
LONGEST_FIRST_LINE = 110

# A command's module has the name of the function that it calls.
COMMANDS_NAMED_AFTER_THEIR_FUNCTION = {"evaluate", "certify", "export", "baseline"}
# A subject of two layers under one name. To shrink: one of the two gets a name of its own.
REPEATED_STEMS: set[str] = set()
# `python -m` needs this name in every package that it runs.
STEMS_OF_PYTHON = {"__init__", "__main__"}

REPEATED_CLASSES: set[str] = set()

FIRST_LINES_TO_DO: set[str] = set()

# A method of proof is "climbed" in certificates of every version so far.
DIALECT_TO_DO = {"bounds"}

# To shrink, except public entry points and compiled operations, whose arguments are their data.
MANY_PARAMETERS = {
    "harden/artefact/measure_file.py:predicate",
    "harden/artefact/runtime/session.py:Session.__init__",
    "harden/cli/gate_app.py:check",
    "harden/cli/gate_app.py:init",
    "harden/cli/gate_app.py:update",
    "harden/deployed/certify_file.py:certify",
    "harden/deployed/evaluate_file.py:evaluate",
    "harden/evaluation/robust_accuracy.py:evaluate",
    "harden/evaluation/robust_accuracy.py:evaluate_unchecked",
    "harden/evaluation/sweeps/accuracy_curve.py:accuracy_curve",
    "harden/evaluation/sweeps/eps_sweep.py:robustness_curve",
    "harden/evaluation/sweeps/minimal_distances.py:minimal_distances",
    "harden/graph/exporting/substitution.py:average_pool",
    "harden/hardening/hardened.py:Hardened.export",
    "harden/hardening/run_stages.py:harden",
    "harden/hardening/run_stages.py:job_of",
    "harden/kernels/l1_steps.py:l1_step_",
    "harden/kernels/l1_steps_reference.py:l1_step_",
    "harden/kernels/loss_grad_reference.py:loss_grad_",
    "harden/kernels/momentum_steps.py:_run",
    "harden/kernels/momentum_steps.py:apgd_l2_step_",
    "harden/kernels/momentum_steps.py:apgd_linf_step_",
    "harden/kernels/steps.py:_run",
    "harden/kernels/steps.py:l2_step_",
    "harden/kernels/steps.py:linf_step_",
    "harden/kernels/steps_reference.py:apgd_l2_step_",
    "harden/kernels/steps_reference.py:apgd_linf_step_",
    "harden/kernels/steps_reference.py:l2_step_",
    "harden/kernels/steps_reference.py:linf_step_",
    "harden/threats/momentum_step.py:momentum_step_",
    "harden/training/loop.py:train",
}

# Test files named as a module that they are not about, or that test it from another layer.
MISPLACED_TESTS = {
    "tests/bad_input/test_arrays.py": "of the errors for invalid arrays",
    "tests/objectives/test_arguments.py": "of the arguments of objectives, not of compiled operations",
    "tests/test_architecture.py": "of the whole package, not of harden/models/architecture.py",
    "tests/test_examples.py": "of examples/, not of harden/data/examples.py",
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _modules() -> dict[str, str]:
    """The source of every module, by its path below the root."""
    return {_name(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def _test_files() -> list[str]:
    return [_name(path) for path in sorted(TESTS.rglob("test_*.py"))]


MODULES = _modules()


@functools.cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _package_of(module: str) -> str:
    """The package of a module, or the module's own name at the top: "data", "errors.py"."""
    return module.removeprefix("harden/").partition("/")[0]


def _stem(module: str) -> str:
    return Path(module).stem


# Folders and names


def wide_folders(modules: Iterable[str], most: int = WIDEST_FOLDER) -> set[str]:
    """Folders with more than `most` modules, `__init__` not counted."""
    folders: dict[str, int] = defaultdict(int)
    for module in modules:
        folders[str(Path(module).parent)] += _stem(module) != "__init__"
    return {folder for folder, count in folders.items() if count > most}


def repeated_stems(modules: Iterable[str]) -> set[str]:
    """File names that two modules have; a command may have that of the function that it calls."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        command = module.startswith("harden/cli/commands/")
        if not (command and _stem(module) in COMMANDS_NAMED_AFTER_THEIR_FUNCTION):
            found[_stem(module)].append(module)
    return {stem for stem, where in found.items() if len(where) > 1} - STEMS_OF_PYTHON


def repeated_classes(modules: Mapping[str, str]) -> set[str]:
    """Names of public classes that are defined twice."""
    found: dict[str, int] = defaultdict(int)
    for source in modules.values():
        for node in ast.walk(_parsed(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] += 1
    return {name for name, count in found.items() if count > 1}


def test_folders_are_narrow() -> None:
    assert len(MODULES) > 100
    assert wide_folders(MODULES) == set()


def test_a_wide_folder_is_noticed() -> None:
    modules = [f"harden/a/m{k}.py" for k in range(WIDEST_FOLDER)] + ["harden/a/__init__.py"]
    assert wide_folders(modules) == set()
    assert wide_folders([*modules, "harden/a/one_more.py"]) == {"harden/a"}


def test_module_names_are_unique() -> None:
    assert repeated_stems(MODULES) - REPEATED_STEMS == set()


def test_a_repeated_module_name_is_noticed() -> None:
    assert repeated_stems(["harden/a/memory.py", "harden/b/memory.py"]) == {"memory"}
    assert repeated_stems(["harden/a/__init__.py", "harden/b/__init__.py"]) == set()
    assert repeated_stems(["harden/cli/commands/export.py", "harden/artefact/export.py"]) == set()
    assert repeated_stems(["harden/cli/commands/run.py", "harden/hardening/run.py"]) == {"run"}


def test_class_names_are_unique() -> None:
    assert repeated_classes(MODULES) - REPEATED_CLASSES == set()


def test_a_repeated_class_name_is_noticed() -> None:
    assert repeated_classes({"a": "class Step: ...", "b": "class Step: ..."}) == {"Step"}
    assert repeated_classes({"a": "class _Step: ...", "b": "class _Step: ..."}) == set()


# Language

RIDDLES = re.compile(r"(What|Whether|When|How|Where|Which|Who)\b")


def first_line_faults(source: str) -> list[str]:
    """The reasons why a module's first line is no plain statement."""
    docstring = ast.get_docstring(_parsed(source))
    if not docstring:
        return ["no docstring"]
    line = docstring.splitlines()[0]
    faults = []
    if RIDDLES.match(line):
        faults.append(f"opens with {line.split()[0]!r}")
    if not line.endswith("."):
        faults.append("is no sentence in one line: no period at its end")
    if len(line) > LONGEST_FIRST_LINE:
        faults.append(f"{len(line)} characters")
    return faults


# Words that this project once used in a sense of its own, and what to write instead. As in
# test_docs_language.py, which holds the pages to them.
DIALECT = {
    r"stand|stands|standing|stood": "unbroken, robust, remaining; is, has, contains",
    r"climb|climbs|climbed|climbing": "gradient step, gradient ascent, maximise",
    r"steer|steers|steered|steering": "surrogate gradient; gradients are taken from",
    r"told|tell|tells": "reported, given, returns; distinguish",
    r"beside": "next to, compared with, and",
    r"ask|asks|asked|asking": "query, request, call",
    r"road|roads|house|houses|door|doors|storey|attic": "the plain noun: way, package, entry point",
    r"look|looks|looked|looking|glance|glances": "inspect, examine, read, search",
    r"hunt|hunts|hunted|hunting": "search",
    r"wait|waits|waited|waiting": "block, pause; pending",
}
WORDS = re.compile(rf"(?<![-\w.])({'|'.join(DIALECT)})(?![-\w])", re.IGNORECASE)
CODE = re.compile(r"`[^`]*`")
ARGUMENT = re.compile(r"^\s*\w+:(?= |$)", re.MULTILINE)


def _texts(source: str) -> list[tuple[int, str]]:
    """Comments, docstrings and text in string literals, each with its line; single words are keys."""
    comments = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    literals = [
        (node.lineno, node.value)
        for node in ast.walk(_parsed(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    return sorted(comments + literals)


@functools.cache
def dialect(source: str) -> list[str]:
    """The words of `DIALECT` in comments, docstrings and texts, without code in backticks."""
    return [
        f"line {line}: {word!r}; write {instead}"
        for line, text in _texts(source)
        for word in WORDS.findall(ARGUMENT.sub("", CODE.sub("", text)))
        for words, instead in DIALECT.items()
        if re.fullmatch(words, word, re.IGNORECASE)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_first_lines_are_plain_statements(module: str) -> None:
    if module not in FIRST_LINES_TO_DO:
        assert first_line_faults(MODULES[module]) == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ('"""Pre-flight checks of model and data before training."""', 0),
        ("x = 1", 1),
        ('"""What a run may cost."""', 1),
        ('"""Whether a stream repeats"""', 2),
        ('"""Whatever is given."""', 0),
        (f'"""{"a" * LONGEST_FIRST_LINE}."""', 1),
    ],
)
def test_a_riddle_is_noticed(source: str, faults: int) -> None:
    assert len(first_line_faults(source)) == faults


@pytest.mark.parametrize("module", MODULES)
def test_the_words_are_those_of_the_field(module: str) -> None:
    if _package_of(module) not in DIALECT_TO_DO:
        assert dialect(MODULES[module]) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""Images that still stand."""', 1),
        ("x = 1  # the house asks", 2),
        ('f"{x} was told"', 1),
        ('"""Understanding the lookup of `stand`."""', 0),
        ('"""Args:\n    steering: the surrogate.\n"""', 0),
        ('key = "steering"', 0),
        ("stand = ask", 0),
    ],
)
def test_a_word_of_the_dialect_is_noticed(source: str, count: int) -> None:
    assert len(dialect(source)) == count


# Functions


def many_parameters(source: str, most: int = MOST_PARAMETERS) -> set[str]:
    """Functions with more parameters, self and cls not counted, by their qualified names."""
    found: set[str] = set()

    def visit(node: ast.AST, place: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = place
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{place}.{child.name}" if place else child.name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                given = child.args
                names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                extra = (given.vararg is not None) + (given.kwarg is not None)
                if len(set(names) - {"self", "cls"}) + extra > most:
                    found.add(inner)
            visit(child, inner)

    visit(_parsed(source), "")
    return found


def _many_parameters() -> set[str]:
    return {f"{module}:{name}" for module, source in MODULES.items() for name in many_parameters(source)}


def test_functions_have_few_parameters() -> None:
    assert _many_parameters() - MANY_PARAMETERS == set()


def test_a_function_of_many_parameters_is_noticed() -> None:
    assert many_parameters("def f(a, b, c, *, d, e, f): ...") == set()
    assert many_parameters("def f(a, b, c, *, d, e, f, **g): ...") == {"f"}
    assert many_parameters("class C:\n    def f(self, a, b, c, d, e, f): ...") == set()
    assert many_parameters("class C:\n    def f(self, a, b, c, d, e, f, g): ...") == {"C.f"}


# Tests mirror the modules


def mirror_of(module: str) -> str:
    """The test file that mirrors a module."""
    inside = Path(module).relative_to("harden")
    return (Path("tests") / inside.with_name(f"test_{inside.name}")).as_posix()


def misplaced(modules: Iterable[str], tests: Iterable[str]) -> set[str]:
    """Test files that are named as a module and lie in another folder than the one that mirrors its own."""
    mirrors: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        if _stem(module) not in STEMS_OF_PYTHON:
            mirrors[Path(mirror_of(module)).name].add(mirror_of(module))
    return {test for test in tests if Path(test).name in mirrors and test not in mirrors[Path(test).name]}


def untested(modules: Iterable[str], tests: Iterable[str]) -> set[str]:
    """Modules without a test file of their name in the folder that mirrors theirs."""
    known = set(tests)
    return {
        module
        for module in modules
        if _stem(module) not in STEMS_OF_PYTHON and mirror_of(module) not in known
    }


def test_tests_of_a_module_mirror_its_place() -> None:
    assert misplaced(MODULES, _test_files()) - set(MISPLACED_TESTS) == set()


def test_a_misplaced_test_is_noticed() -> None:
    modules = ["harden/data/formats/npz.py", "harden/errors.py"]
    assert misplaced(modules, ["tests/data/formats/test_npz.py", "tests/test_errors.py"]) == set()
    assert misplaced(modules, ["tests/data/test_npz.py"]) == {"tests/data/test_npz.py"}
    assert misplaced(modules, ["tests/data/test_other.py"]) == set()


def test_every_module_has_tests() -> None:
    assert sorted(untested(MODULES, _test_files())) == [], "write the file that mirrors it"


def test_a_module_without_tests_is_noticed() -> None:
    modules = ["harden/data/batch.py", "harden/data/__init__.py", "harden/__main__.py"]
    assert untested(modules, []) == {"harden/data/batch.py"}
    assert untested(modules, ["tests/data/test_batch.py"]) == set()
    assert untested(modules, ["tests/test_batch.py"]) == {"harden/data/batch.py"}


# Exceptions


def test_exceptions_are_still_needed() -> None:
    """An exception without a breach hides the next one: what is listed here is to be deleted above."""
    with_dialect = {_package_of(module) for module, source in MODULES.items() if dialect(source)}
    riddles = {module for module, source in MODULES.items() if first_line_faults(source)}
    tests = _test_files()
    unneeded = {
        "REPEATED_STEMS": REPEATED_STEMS - repeated_stems(MODULES),
        "REPEATED_CLASSES": REPEATED_CLASSES - repeated_classes(MODULES),
        "FIRST_LINES_TO_DO": FIRST_LINES_TO_DO - riddles,
        "DIALECT_TO_DO": DIALECT_TO_DO - with_dialect,
        "MANY_PARAMETERS": MANY_PARAMETERS - _many_parameters(),
        "MISPLACED_TESTS": set(MISPLACED_TESTS) - misplaced(MODULES, tests),
    }
    assert {name: sorted(entries) for name, entries in unneeded.items() if entries} == {}
