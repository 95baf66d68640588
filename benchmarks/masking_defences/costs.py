"""The same evaluations by two checkouts, in two processes, by turns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, final

Pair = tuple[dict[str, Any], dict[str, Any]]
ROOT = Path(__file__).parents[2]
_BOOTSTRAP = """
import importlib.machinery, importlib.util, sys
spec = importlib.machinery.PathFinder.find_spec("harden", [sys.argv[1]])
if spec is None:
    sys.exit(f"no harden in {sys.argv[1]}; expected a checkout of it")
sys.modules["harden"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["harden"])
sys.path.insert(0, sys.argv[2])
from benchmarks import masking
sys.exit(masking.main(sys.argv[3:]))
"""
"""Loads the harden of a checkout, then the script: an editable install comes before PYTHONPATH."""


def package() -> Path:
    """The folder of the harden that is used."""
    import harden

    return Path(str(harden.__file__)).resolve().parent


def is_in(tree: Path) -> bool:
    """Return whether the imported harden is that of a checkout."""
    return package().parent == tree.resolve()


def _command(tree: Path, options: list[str]) -> list[str]:
    return [sys.executable, "-c", _BOOTSTRAP, str(tree.resolve()), str(ROOT), *options]


def called(tree: Path, options: list[str]) -> int:
    """The script in another process, with the harden of a checkout: its exit code."""
    return subprocess.run(_command(tree, options), check=False).returncode


@final
class Server:
    """A process with the harden of a checkout: the number of a network in, a line of JSON out."""

    def __init__(self, tree: Path, options: list[str]) -> None:
        command = _command(tree, ["--serve", *options])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)

    def asked(self, number: int) -> dict[str, Any]:
        """The result of the network of this number."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a server without pipes")
        print(number, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the evaluation ended with exit code {self._process.wait(60)}")
        return dict(json.loads(answer))


def compared(trees: tuple[Path, Path], count: int, options: list[str]) -> list[Pair]:
    """The pairs of results of so many networks, the first tree's first; who begins changes by turns."""
    found = []
    with Server(trees[0], options) as one, Server(trees[1], options) as two:
        for number in range(count):
            if number % 2:
                second, first = two.asked(number), one.asked(number)
            else:
                first, second = one.asked(number), two.asked(number)
            found.append((first, second))
            ratio = second["seconds"] / first["seconds"]
            passes = second["passes_per_image"] / first["passes_per_image"]
            said = f"time x{ratio:.3f}, passes x{passes:.3f}, {first['status']} and {second['status']}"
            print(f"{first['setting']}: {said}", flush=True)
    return found


def summary(pairs: list[Pair]) -> dict[str, float]:
    """Sums of time and passes of the second over the first."""
    return {
        f"{key}_ratio": round(sum(pair[1][key] for pair in pairs) / sum(pair[0][key] for pair in pairs), 4)
        for key in ("seconds", "passes_per_image")
    }
