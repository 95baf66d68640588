"""Networks that can't be trained, traced or shipped; nothing is left of the export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from harden.artefact.runtime.session import Session
from harden.errors import ExportError
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from tests.bad_input.table import (
    FAST,
    Answer,
    Row,
    built,
    by_evaluate,
    by_export,
    by_harden,
    check_line,
    classes,
    ids,
    listing,
    pictures,
    refused,
)

DATA = (pictures(), classes())


class Flat(nn.Module):
    """What the networks below begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


class Stochastic(Flat):
    """Dropout that is on in inference, too."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.dropout(x.flatten(1), 0.5, training=True))
        return logits


class Branching(Flat):
    """Decides by what it sees."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits if logits.sum() > 0 else -logits


class Sized(Flat):
    """Built for batches of 40 images."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.reshape(40, 64))
        return logits


class Untranslated(Flat):
    """An operator that ONNX has not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.linalg.svdvals(x)[..., :1, None])


class Parted(Flat):
    """Returns a dict."""

    def forward(self, x: Tensor) -> Any:
        return {"scores": super().forward(x)}


class NotFinite(Flat):
    """Divides by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class Failing(Flat):
    """Raises an error of its own, of two lines."""

    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("no such\nlayer")


TRACE = "a forward without data-dependent control flow"
WHERE = "use torch.where instead of if, a fixed number of steps instead of while, and no .item()"
RANDOM = "check for randomness, training-mode layers or float64 constants in the network's forward"
SHAPES = "resize them, or write x.shape instead of numbers in the network's forward"
FITS = "images of the channels and size that it was built for, in batches of any size"
RESIZE = "resize them, build the network for them, or write x.shape[0] for a number in its forward"


def export_of(kind: Callable[[], nn.Module], seen: str, expected: str, instead: str) -> Row:
    return Row(
        f"export-{getattr(kind, '__name__', 'x').lower()}",
        lambda _: by_export(DATA, built(kind)),
        seen,
        expected,
        instead,
        ExportError,
    )


def frozen_network() -> nn.Module:
    return small_cnn().requires_grad_(False)


EXPORTS = [
    export_of(
        Stochastic,
        "a network whose logits differ by … between two forwards",
        "the same logits for the same images",
        RANDOM,
    ),
    export_of(Branching, "a network that torch.export can't trace (…data-dependent…)", TRACE, WHERE),
    export_of(
        Sized,
        "a network that fails on 2 images of shape (1, 8, 8) "
        "(shape '[40, 64]' is invalid for input of size 128)",
        "images that it was built for, in batches of any size",
        SHAPES,
    ),
    export_of(
        Untranslated,
        "a network with aten._linalg_svd, for which torch.onnx has no ONNX",
        "operators that torch.onnx has ONNX for",
        "write it by a fixed number of products (Newton's or a power iteration), or train its factors",
    ),
    export_of(NotFinite, "logits that are not finite", "a number for each class", RANDOM),
    export_of(
        Failing,
        "a network that fails on 2 images of shape (1, 8, 8) (…)",
        "images that it was built for, in batches of any size",
        SHAPES,
    ),
]

COLOUR = built(lambda: small_cnn(in_channels=3))
NORMALISED = built(lambda: small_cnn(in_channels=3), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
CHANNELS = (
    "images with 1 channels and a mean of 3",
    "as many channels as mean and std have",
    "write x.expand(-1, 3, -1, -1) for grey images, or give their own mean and std",
)
OTHERS = [
    Row(
        "channels",
        lambda _: by_harden(DATA, COLOUR),
        "images of shape (1, 8, 8) on which the network fails (…)",
        FITS,
        RESIZE,
    ),
    Row(
        "channels-evaluate",
        lambda _: by_evaluate(DATA, COLOUR),
        "images of shape (1, 8, 8) on which the network fails (…)",
        FITS,
        RESIZE,
    ),
    Row("channels-and-mean", lambda _: by_harden(DATA, NORMALISED), *CHANNELS),
    Row("channels-and-mean-evaluate", lambda _: by_evaluate(DATA, NORMALISED), *CHANNELS),
    Row(
        "size",
        lambda _: by_harden((pictures().repeat(1, 1, 2, 2), classes())),
        "images of shape (1, 16, 16) on which the network fails (…)",
        FITS,
        RESIZE,
    ),
    Row(
        "fixed-batch",
        lambda _: by_harden(DATA, built(Sized)),
        "images of shape (1, 8, 8) on which the network fails (…)",
        FITS,
        RESIZE,
    ),
    Row(
        "parts",
        lambda _: by_harden(DATA, built(Parted)),
        "the network returned a dict with 'scores'",
        "a tensor of logits",
        "name the part with the logits: Classifier(network, output='scores')",
    ),
    Row(
        "nothing-to-train",
        lambda _: by_harden(DATA, built(frozen_network)),
        "a network whose parameters are all frozen",
        "trainable parameters",
        "write requires_grad_(True)",
    ),
    Row(
        "no-network",
        lambda _: Classifier("resnet18"),  # type: ignore[arg-type]
        "a str for a network",
        "an nn.Module",
        "pass the module itself, built",
    ),
    Row(
        "mean-without-std",
        lambda _: Classifier(small_cnn(), mean=(0.5,)),
        "mean without std",
        "both or neither",
        "add std=(...)",
    ),
    Row(
        "std-of-0",
        lambda _: Classifier(small_cnn(), mean=(0.5,), std=(0.0,)),
        "std (0.0,)",
        "positive deviations",
        "write std=(0.5, 0.5, 0.5), for instance",
    ),
    Row(
        "no-head",
        lambda _: Classifier(nn.Flatten()),
        "a network without a linear layer",
        "a head",
        "name it: Classifier(network, head=...)",
    ),
]


@pytest.mark.parametrize("row", ids([*EXPORTS, *OTHERS]))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_networks(row: Row, place: Path) -> None:
    refused(row, place)


def test_an_opset_that_the_runtime_does_not_know(stocked: Path) -> None:
    model = onnx.load(stocked / "bare.onnx")
    model.opset_import[0].version = 99
    row = Row(
        "",
        lambda _: Session(model.SerializeToString()),
        "the graph does not load (…)",
        "an ONNX model",
        "export it again",
    )
    assert "99" in refused(row, stocked).seen


def test_an_opset_that_was_not_asked_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another release of torch may give."""
    ask = torch.onnx.export
    monkeypatch.setattr(
        torch.onnx, "export", lambda *given, **named: ask(*given, **{**named, "opset_version": 20})
    )
    row = Row(
        "",
        lambda _: by_export(DATA),
        "opsets {'': 20}",
        "opset 18",
        "install the torch and onnxscript that harden names",
        ExportError,
    )
    refused(row, place)


MODULE = """
from tests.bad_input import test_networks as table

def stochastic(): return table.Stochastic()
def branching(): return table.Branching()
def sized(): return table.Sized()
def colour(): return table.small_cnn(in_channels=3)
def fixed(): return table.frozen_network()
def failing(): return table.Failing()
def unbuilt(): raise ValueError("no weights\\nanywhere")
"""
COMMANDS = [
    ("export", "branching", "a network that torch.export can't trace (…)", TRACE, WHERE),
    ("export", "sized", "images of shape (1, 8, 8) on which the network fails (…)", FITS, RESIZE),
    ("export", "failing", "images of shape (1, 8, 8) on which the network fails (…)", FITS, RESIZE),
    ("run", "colour", "images of shape (1, 8, 8) on which the network fails (…)", FITS, RESIZE),
    ("run", "sized", "images of shape (1, 8, 8) on which the network fails (…)", FITS, RESIZE),
    (
        "run",
        "fixed",
        "a network whose parameters are all frozen",
        "trainable parameters",
        "write requires_grad_(True)",
    ),
    (
        "run",
        "unbuilt",
        "mine:unbuilt raised ValueError (no weights anywhere)",
        "a function that builds the network",
        "call it in Python to see where it fails",
    ),
]


@pytest.mark.parametrize(("name", "model", "seen", "expected", "instead"), COMMANDS)
def test_networks_on_the_command_line(
    name: str,
    model: str,
    seen: str,
    expected: str,
    instead: str,
    stocked: Path,
    command: Callable[..., Answer],
) -> None:
    (stocked / "mine.py").write_text(MODULE)
    before = listing(stocked)
    words = ["--data", "npz:good.npz", "--eps", "1/10", "--out", "out", *FAST]
    if name == "run":
        words += ["--model", f"mine:{model}", "--budget", "1epochs", "--finetune", "standard"]
    else:
        words = [f"mine:{model}", *words]
    check_line(command(name, *words), seen, expected, instead, stocked)
    assert listing(stocked) == before
