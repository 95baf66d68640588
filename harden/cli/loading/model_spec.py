"""A model named on the command line: how it is built, and how a run's folder remembers it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER
from harden.cli.output.console import say
from harden.data import Splits
from harden.errors import InputError
from harden.models import Classifier, copied, float32_copy
from harden.models.named_networks import build_network
from harden.system.atomic_files import read_bytes, refuse_pointer, write_text
from harden.system.nesting_limits import json_value
from harden.system.safe_folders import inner_folder
from harden.system.size_limits import JSON_BYTES
from harden.training.checkpointing.weights_file import load_weights_file, restore_weights

MODEL_FILE = "model.json"
BUILT_IN = "small"


@final
@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the command line says about a model.

    Attributes:
        spec: small | torchvision:NAME | module:function | a run's folder.
        weights: a safetensors file, or None.
        mean: of the normalisation, or None.
        std: likewise.
        head: name of the submodule whose input are the features, or "" to have it found.
        output: key, attribute or position of the logits in what the network returns, or "".
    """

    spec: str
    weights: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    head: str = ""
    output: str = ""

    @classmethod
    def of(
        cls, spec: str, weights: Path | None, mean: str, std: str, *, head: str = "", output: str = ""
    ) -> ModelSpec:
        """Read the options as they were typed."""
        path = str(weights) if weights else None
        return cls(spec, path, numbers("--mean", mean), numbers("--std", std), head, output)

    @property
    def folder(self) -> Path | None:
        """The run's folder, if the spec is one; a built-in name comes first, and ./small is a folder."""
        if self.spec == BUILT_IN:
            return None
        path = Path(self.spec)
        return path if path.is_dir() else None

    def build(self, data: Splits, seed: int = 0) -> Classifier:
        """Build the classifier for a data set; fresh weights depend on the seed alone.

        Raises:
            InputError: there is no such model, or its weights do not fit.
        """
        if self.folder is not None:
            if given := self.given():
                raise InputError(
                    f"{self.spec} with {' and '.join(given)}",
                    "a run's folder alone, which has its own",
                    "leave these options out",
                )
            return _from_folder(self.folder, data)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = build_network(self.spec, data.train.image_shape, len(data.train.classes))
        if isinstance(network, Classifier):
            if given := [option for option, value in self._options()[1:] if value]:
                raise InputError(
                    f"{self.spec}, which returns a harden.Classifier, with {' and '.join(given)}",
                    "a Classifier alone, which has its own",
                    "leave these options out, or return the bare network",
                )
            model = network
        else:
            model = Classifier(
                network, self.mean, self.std, head=self.head or None, output=_position(self.output)
            )
        # A copy's weights have the same names whether or not parts of the network are compiled.
        model = copied(model)
        if self.weights is not None:
            for note in load_weights_file(model.network, Path(self.weights)):
                say(note)
        return model

    def resolved(self) -> ModelSpec:
        """The spec itself, or the one that a run's folder remembers."""
        return self if self.folder is None else _stored(self.folder)

    def given(self) -> list[str]:
        """The options beside --model that were given."""
        return [option for option, value in self._options() if value]

    def words(self) -> list[str]:
        """The spec and the options beside it, as they are typed."""
        words = [self.spec]
        for option, value in self._options():
            if value:
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words += [option, text]
        return words

    def _options(self) -> list[tuple[str, object]]:
        """The options beside --model, as they are typed."""
        return [
            ("--weights", self.weights),
            ("--mean", self.mean),
            ("--std", self.std),
            ("--head", self.head),
            ("--output", self.output),
        ]

    def remember(self, folder: Path) -> None:
        """Write beside the checkpoint what builds the network again."""
        place = inner_folder(folder, CHECKPOINT_FOLDER)
        for name, text in self.notes().items():
            write_text(place / name, text)

    def notes(self) -> dict[str, str]:
        """What `remember` writes, by file name."""
        return {MODEL_FILE: json.dumps({**asdict(self), "weights": None}, indent=2) + "\n"}


def _from_folder(folder: Path, data: Splits) -> Classifier:
    model = _stored(folder).build(data)
    try:
        restore_weights(model, folder / CHECKPOINT_FOLDER)
    except InputError:
        # A run trains in float32, whatever precision the network comes in; an export keeps it.
        model = float32_copy(model)
        restore_weights(model, folder / CHECKPOINT_FOLDER)
    return model


def _stored(folder: Path) -> ModelSpec:
    path = folder / CHECKPOINT_FOLDER / MODEL_FILE
    try:
        content = read_bytes(path, JSON_BYTES)
        refuse_pointer(content, path)
        stored = json_value(content)
        # Folders of version 0.1 say nothing about head and output.
        spec, head, output = (_text(stored.get(name, "")) for name in ("spec", "head", "output"))
        if not spec:
            raise ValueError("no spec")
        return ModelSpec(
            spec, None, _stored_numbers(stored["mean"]), _stored_numbers(stored["std"]), head, output
        )
    except FileNotFoundError:
        raise InputError(f"no {path}", "the folder of a `harden run`", "point to one") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} ({reason})", "what `harden run` wrote", "run again; it is damaged"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "a file that can be read", "point to another") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _stored_numbers(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(part) in (int, float) for part in value):
        raise TypeError(f"{value!r} is no list of numbers")
    return tuple(float(part) for part in value)


def _position(output: str) -> str | int | None:
    """`--output` as Classifier takes it: a number is a position, all else a key or an attribute."""
    if output.lstrip("-").isdecimal():
        return int(output)
    return output or None


def numbers(option: str, text: str) -> tuple[float, ...] | None:
    """An option's numbers with commas; None where it is empty.

    Raises:
        InputError: it holds something else.
    """
    if not text:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} {text!r}", "numbers with commas", f"write {option} 0.5,0.5,0.5") from None
