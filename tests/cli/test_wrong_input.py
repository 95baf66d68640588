"""What each command says to wrong input: exit code 2, one line in three parts, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Harden = Callable[..., Any]
FAST = ("--steps", "1", "--restarts", "1", "--budget", "1epochs", "--finetune", "standard")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(answer: Any, seen: str, expected: str, instead: str) -> None:
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("harden: ")
    first, _, rest = answer.err.removeprefix("harden: ").partition("; expected ")
    second, _, third = rest.rpartition("; ")
    assert seen in first
    assert expected in second
    assert instead in third


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with some damaged files; the test must leave them alone and add none."""
    rng = np.random.default_rng(0)
    grey = {
        "x_train": rng.integers(0, 256, (40, 8, 8), np.uint8),
        "y_train": np.arange(40) % 4,
        "x_test": rng.integers(0, 256, (12, 8, 8), np.uint8),
        "y_test": np.arange(12) % 4,
    }
    np.savez(tmp_path / "good.npz", **grey)  # type: ignore[arg-type]
    np.savez(tmp_path / "two.npz", **{**grey, "x_train": np.zeros((40, 8, 8, 2), np.uint8)})  # type: ignore[arg-type]
    np.savez(tmp_path / "lacks.npz", **{k: v for k, v in grey.items() if k != "y_test"})  # type: ignore[arg-type]
    np.savez(tmp_path / "one.npz", **{**grey, "y_train": np.zeros(40, np.int64)})  # type: ignore[arg-type]
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "corrupt.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "bad.safetensors").write_bytes(b"weights")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years")
    (tmp_path / "bare").mkdir()
    (tmp_path / "colour.py").write_text(
        "from torch import nn\n"
        "def network():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4))\n"
        "def text():\n    return 'a network'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = listing(tmp_path)
    yield tmp_path
    after = {name: content for name, content in listing(tmp_path).items() if "__pycache__" not in name}
    assert after == before, "something was written"


RUN = [
    (["--norm", "l3"], "norm 'l3'", "linf, l2 or l1", "--norm linf"),
    (["--eps", "8"], "eps 8", "at most 1", "did you mean 8/255?"),
    (["--eps", "-1"], "eps -1", "0 or more", 'write "1"'),
    (["--eps", "abc"], "eps 'abc'", "a finite number or a fraction", '"8/255"'),
    (["--eps", "1/0"], "eps '1/0'", "a finite number or a fraction", '"8/255"'),
    (["--data", "digit"], "data spec 'digit'", "npz:FILE", "did you mean digits?"),
    (["--data", "nzp:good.npz"], "'nzp:good.npz'", "npz:FILE", "did you mean npz:FILE?"),
    (["--data", "npz:gone.npz"], "no such file", "an npz file", "np.savez"),
    (["--data", "npz:corrupt.npz"], "unreadable", "complete", "np.savez"),
    (["--data", "npz:lacks.npz"], "y_test missing", "y_test", "np.savez"),
    (["--data", "npz:two.npz"], "training images of (2, 8, 8)", "one size in both", "resize"),
    (["--data", "npz:one.npz"], "labels that are all 0", "at least two classes", "check"),
    (["--data", "no.such.module:function"], "no module 'no'", "a module", "check the name"),
    (["--model", "smal"], "model 'smal'", "small, torchvision:NAME", "did you mean small?"),
    (
        ["--model", "torchvision:resnet19"],
        "'resnet19'",
        "a name that torchvision knows",
        "resnet18",
    ),
    (["--model", "colour:nothing"], "colour:nothing", "a function that can be imported", "module:function"),
    (["--model", "colour:text"], "returned a str", "an nn.Module", "return the network"),
    (["--model", "colour:network"], "on which the network fails", "channels", "build the network for them"),
    (["--model", "model.onnx"], "a bare ONNX file", "weights can be trained", "its run's folder"),
    (["--model", "bare"], "no bare/checkpoint/model.json", "the folder of a `harden run`", "point to one"),
    (["--mean", "0.1,x", "--std", "1,1"], "--mean '0.1,x'", "numbers with commas", "--mean 0.5"),
    (["--mean", "0.5"], "mean without std", "both or neither", "add std"),
    (
        ["--mean", "0.5,0.5,0.5", "--std", "1,1,1"],
        "images with 1 channels and a mean of 3",
        "as many channels",
        "mean and std",
    ),
    (["--weights", "gone.safetensors"], "no gone.safetensors", "weights", "point to"),
    (["--weights", "bad.safetensors"], "bad.safetensors", "a safetensors file", "damaged"),
    (["--pretrain", "simclrr"], "--pretrain 'simclrr'", "none | simclr | moco", "did you mean simclr?"),
    (["--finetune", "trade"], "--finetune 'trade'", "madry | trades", "did you mean trades?"),
    (["--pretrain", "zzz"], "--pretrain 'zzz'", "none | simclr | moco", "write --pretrain none"),
    (["--budget", "soon"], "budget 'soon'", "an amount and a unit", '"10min"'),
    (["--budget", "0E"], "a budget of 0", "a positive amount", '"10min"'),
    (["--budget", "-3epochs"], "budget '-3epochs'", "an amount and a unit", '"10min"'),
    (["--device", "gpu"], "device 'gpu'", "cpu or cuda", "--device cpu"),
    (["--device", "cuda:99"], "device 'cuda:99'", "a device that is there", "--device cpu"),
    (["--device", "meta"], "device 'meta'", "a device that is there", "--device cpu"),
    (["--steps", "0"], "0 steps", "at least one of each", "PGD(steps=10"),
    (["--steps", "many"], "'--steps'", "", "see harden run --help"),
    (["--batch-size", "0"], "a batch size of 0", "at least 1", "positive"),
    (["--lr", "-1"], "-1", "", ""),
    (["--beta", "-1"], "-1", "", ""),
    (["--out", "full"], "full holds ['thesis.tex']", "an empty folder or an artefact", "another --out"),
    (["--out", "model.onnx"], "model.onnx: ", "a folder that can be written", "another --out"),
    (["--out", "/proc/x"], "/proc/x", "a folder that can be written", "another --out"),
    (["--checkpoint-every", "-1"], "--checkpoint-every -1", "0 or more", "--checkpoint-every 30"),
    (["--checkpoint-every", "nan"], "--checkpoint-every nan", "0 or more", "--checkpoint-every 30"),
    (["--eps", "0"], "--eps 0", "a budget to harden against", "--eps 8/255"),
    (["--config", "gone.toml"], "no gone.toml", "a TOML file", "--config harden.toml"),
    (["--config", "full"], "full, which is no file", "a TOML file", "--config harden.toml"),
    (["--config", "model.onnx"], "model.onnx: ", "TOML", "write name = value"),
    (["--nonsense", "1"], "--nonsense", "its options", "see harden run --help"),
]


@pytest.mark.parametrize(
    ("words", "seen", "expected", "instead"), RUN, ids=[" ".join(case[0]) for case in RUN]
)
def test_run(harden: Harden, place: Path, words: list[str], seen: str, expected: str, instead: str) -> None:
    usual = ["--data", "npz:good.npz", "--out", "out", *FAST]
    check(harden("run", *usual, *words), seen, expected, instead)


EVALUATE = [
    (["small"], "Missing option", "its options", "see harden evaluate --help"),
    ([], "Missing", "its options", "see harden evaluate --help"),
    (["bare", "--data", "npz:good.npz"], "no bare/checkpoint/model.json", "`harden run`", "point to one"),
    (["model.onnx", "--data", "npz:good.npz"], "that does not parse", "graph in one file", "export"),
    (["gone.onnx", "--data", "npz:good.npz"], "gone.onnx cannot be read", "an ONNX model", "existing file"),
    (["gone/folder", "--data", "npz:good.npz"], "model 'gone/folder'", "a run's folder", ""),
    (["small", "--data", "npz:good.npz", "--eps", "16"], "eps 16", "at most 1", "did you mean 16/255?"),
    (["small", "--data", "npz:good.npz", "--device", "tpu"], "device 'tpu'", "cpu or cuda", "--device cpu"),
    (["colour:network", "--data", "npz:good.npz"], "on which the network fails", "channels", ""),
]


@pytest.mark.parametrize(("words", "seen", "expected", "instead"), EVALUATE)
def test_evaluate(
    harden: Harden, place: Path, words: list[str], seen: str, expected: str, instead: str
) -> None:
    check(harden("evaluate", *words), seen, expected, instead)


@pytest.mark.parametrize(
    ("words", "seen", "expected", "instead"),
    [
        (
            ["colour:network", "--data", "npz:good.npz", "--out", "out"],
            "on which the network fails",
            "channels",
            "",
        ),
        (["small", "--data", "npz:good.npz", "--out", "full"], "thesis.tex", "an empty folder", "--out"),
        (["small", "--data", "npz:good.npz"], "Missing option", "its options", "see harden export --help"),
    ],
)
def test_export(
    harden: Harden, place: Path, words: list[str], seen: str, expected: str, instead: str
) -> None:
    check(harden("export", *words), seen, expected, instead)


@pytest.mark.parametrize(
    ("words", "seen", "expected", "instead"),
    [
        (["report", "gone"], "gone", "a certificate", "pass the folder"),
        (["report", "bare"], "certificate.json", "a certificate", "pass the folder"),
        (["bogus"], "No such command 'bogus'", "evaluate, export", "see harden --help"),
        (["demo", "--out", "full"], "thesis.tex", "an empty folder", "another --out"),
        (
            ["doctor", "--json", "model.onnx/x.json"],
            "x.json can't be written",
            "can be written",
            "another file",
        ),
    ],
)
def test_others(
    harden: Harden, place: Path, words: list[str], seen: str, expected: str, instead: str
) -> None:
    check(harden(*words), seen, expected, instead)


def test_an_unwritable_json_is_found_before_the_work(harden: Harden, place: Path) -> None:
    words = ("--data", "npz:good.npz", "--out", "out", *FAST, "--json", "full")
    check(harden("run", *words), "full", "a file", "another file")
    assert not (place / "out").exists()
