"""A model named on the command line: how it is built, and how a run's folder remembers it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from harden.artefact.folder import CHECKPOINT_FOLDER
from harden.data import Splits
from harden.errors import InputError
from harden.files import write_text
from harden.models import Classifier
from harden.models.reference import small_cnn
from harden.training.checkpoint import restore_weights, restore_weights_file

MODEL_FILE = "model.json"
_FORMS = "small, torchvision:NAME, module:function, or a run's folder"


@final
@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the command line says about a model.

    Attributes:
        spec: small | torchvision:NAME | module:function | a run's folder.
        weights: a safetensors file, or None.
        mean: of the normalisation, or None.
        std: likewise.
    """

    spec: str
    weights: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def of(cls, spec: str, weights: Path | None, mean: str, std: str) -> ModelSpec:
        """Read the options as they were typed."""
        return cls(spec, str(weights) if weights else None, _numbers("--mean", mean), _numbers("--std", std))

    @property
    def folder(self) -> Path | None:
        """The run's folder, if the spec is one."""
        path = Path(self.spec)
        return path if path.is_dir() else None

    def build(self, data: Splits, seed: int = 0) -> Classifier:
        """Build the classifier for a data set; fresh weights depend on the seed alone.

        Raises:
            InputError: there is no such model, or its weights do not fit.
        """
        if self.folder is not None:
            if self.weights or self.mean or self.std:
                raise InputError(
                    f"{self.spec} with --weights, --mean or --std",
                    "a run's folder alone, which has its own",
                    "leave these options out",
                )
            return _from_folder(self.folder, data)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = _network(self.spec, data)
        model = network if isinstance(network, Classifier) else Classifier(network, self.mean, self.std)
        if self.weights is not None:
            restore_weights_file(model.network, Path(self.weights))
        return model

    def resolved(self) -> ModelSpec:
        """The spec itself, or the one that a run's folder remembers."""
        return self if self.folder is None else _stored(self.folder)

    def remember(self, folder: Path) -> None:
        """Write beside the checkpoint what builds the network again."""
        described = {**asdict(self), "weights": None}
        write_text(folder / CHECKPOINT_FOLDER / MODEL_FILE, json.dumps(described, indent=2) + "\n")


def _from_folder(folder: Path, data: Splits) -> Classifier:
    model = _stored(folder).build(data)
    restore_weights(model, folder / CHECKPOINT_FOLDER)
    return model


def _stored(folder: Path) -> ModelSpec:
    path = folder / CHECKPOINT_FOLDER / MODEL_FILE
    try:
        stored = json.loads(path.read_text())
        mean, std = stored["mean"], stored["std"]
        return ModelSpec(stored["spec"], None, mean and tuple(mean), std and tuple(std))
    except FileNotFoundError:
        raise InputError(f"no {path}", "the folder of a `harden run`", "point to one") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} ({error})", "what `harden run` wrote", "run again; it is damaged") from None


def _network(spec: str, data: Splits) -> nn.Module:
    channels, height, _ = data.train.image_shape
    fits = {"in_channels": channels, "num_classes": len(data.train.classes), "image_size": height}
    kind, _, name = spec.partition(":")
    if spec == "small":
        return small_cnn(**fits)
    if spec.endswith(".onnx"):
        raise InputError(
            f"{spec}, a bare ONNX file", "a model with gradients", "point to its run's folder instead"
        )
    if kind == "torchvision" and name:
        return _torchvision(name, fits["num_classes"])
    if name:
        return _called(kind, name, fits)
    close = difflib.get_close_matches(kind, ("small", "torchvision"), n=1)
    instead = f"did you mean {close[0]}?" if close else "write --model small, for instance"
    raise InputError(f"model {spec!r}", _FORMS, instead)


def _torchvision(name: str, classes: int) -> nn.Module:
    from torchvision import models

    if name not in models.list_models():
        close = difflib.get_close_matches(name, models.list_models())
        hint = f"did you mean {', '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise InputError(f"torchvision model {name!r}", "a name that torchvision knows", hint)
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return network


def _called(module: str, name: str, fits: dict[str, int]) -> nn.Module:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{module}:{name} ({error})", "a function that can be imported", _FORMS) from error
    parameters = inspect.signature(function).parameters
    network = function(**{key: value for key, value in fits.items() if key in parameters})
    if not isinstance(network, nn.Module):
        seen = f"{module}:{name} returned a {type(network).__name__}"
        raise InputError(seen, "an nn.Module or a harden.Classifier", "return the network")
    return network


def _numbers(option: str, text: str) -> tuple[float, ...] | None:
    if not text:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} {text!r}", "numbers with commas", f"write {option} 0.5,0.5,0.5") from None
