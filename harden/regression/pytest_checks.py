"""What a test asks of the gate: models and data as Python has them, checks by the name of the test."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from harden import kernels
from harden.artefact.parity.parity_gated_export import exported, first_images
from harden.artefact.runtime.session import Session
from harden.certificate.unreliable_reasons import next_attacks
from harden.data import Examples, Source, Splits, from_loader, load
from harden.deployed.onnx_classifier import classes_of, file_of
from harden.errors import BaselineError, InputError
from harden.models import Classifier
from harden.regression.baseline import compared, read, require_same, update
from harden.regression.baseline_records import Check
from harden.regression.measure import Ask, Gauge, Way
from harden.regression.verdict import Comparison
from harden.statistics import Proportion
from harden.system.atomic_files import write_bytes
from harden.threats import Linf, Threat


@final
@dataclass(frozen=True, slots=True)
class Plugged:
    """The gate as a test sees it.

    Attributes:
        path: the baseline.
        label: under which the baseline knows the model.
        sample: how many test images, 0 for all.
        command: what writes the missing part of the baseline, as a sentence.
        black_box: whether the file's graph is left unread, and it is asked for scores alone.
    """

    path: Path
    label: str
    sample: int
    command: str
    black_box: bool = False

    def gauge(self, model: object, data: object, folder: Path) -> Gauge:
        """Bring model and data to a file and splits; a torch model is exported into the folder.

        Raises:
            InputError: the model is neither a path nor a network, or the data are none.
            ExportError: the exported file does not compute what the network does.
        """
        splits = (
            data
            if isinstance(data, Splits)
            else load(data, needs_train=False)
            if isinstance(data, str)
            else None
        )
        source = from_loader(splits.test if splits is not None else data, 256)
        if isinstance(model, nn.Module):
            path, classes = _exported(model, source, folder)
        elif isinstance(model, str | os.PathLike):
            path = file_of(os.fspath(model))
            image = tuple(first_images(source)[0].shape[1:])
            classes = classes_of(Session(path, exported=False, image_shape=image))
        else:
            raise InputError(
                f"a model of type {type(model).__name__}",
                "an ONNX file's path, or a torch network",
                "pass 'model.onnx', or the network itself",
            )
        if splits is None:
            images = data if isinstance(data, Examples) else _in_memory(source, classes)
            splits = Splits(images, images, images.name)
        return Gauge(path, splits, Way(black_box=self.black_box))

    def name(self, threat: Threat, attacks: str) -> str:
        """The check's name in the baseline."""
        known = f"{threat.name} {threat.eps} {attacks}"
        return f"{self.label}: {known}" if self.label else known

    def known(self, threat: Threat, attacks: str, missing_is_fine: bool = False) -> Check | None:
        """The check in the baseline; None where there is none and that is fine.

        Raises:
            BaselineError: it has none, or the file is damaged.
        """
        if missing_is_fine and not self.path.exists():
            return None
        name = self.name(threat, attacks)
        found = read(self.path, self.command).checks.get(name)
        if found is None and not missing_is_fine:
            raise BaselineError(
                f"no {name!r} in {self.path.name}", "a check that was committed", self.command
            )
        return found

    def updated(self, gauge: Gauge, threat: Threat, attacks: str, reason: str | None, patience: float) -> str:
        """Measure, write the baseline, and say what stands there now.

        Raises:
            InputError: a trust check fired.
            RegressionError: it is a step down without a reason.
        """
        ask = self._ask(threat, attacks)
        check, distrust = gauge.measure(ask)
        if distrust:
            stronger = next_attacks(gauge.checks, attacks).removeprefix("--attacks ")
            remedy = f'write attacks="{stronger}"' if stronger in _STRONGER else "mend the model"
            raise InputError(f"a number that can't be trusted: {'; '.join(distrust)}", "one that can", remedy)
        update(self.path, check, reason, patience=patience)
        robust = check.outcomes["robust"].accuracy
        return f"{check.name} -> robust {Proportion(robust.count, robust.n)}"

    def comparisons(
        self, gauge: Gauge, before: Check, threat: Threat, attacks: str
    ) -> tuple[Comparison, ...]:
        """Measure again, and pair the result with the baseline.

        Raises:
            BaselineError: they do not fit together.
        """
        ask = self._ask(threat, attacks)
        require_same(before.name, before.setting, gauge.setting(ask))
        now, broken = gauge.measure(ask)
        return gauge.cautioned(compared(before, now, broken))

    @staticmethod
    def backend() -> str:
        """Which kernels run, and why."""
        found = kernels.backend("cpu")
        return f"{found.name} ({found.reason})"

    def _ask(self, threat: Threat, attacks: str) -> Ask:
        ask = Ask(threat.name, str(threat.eps), attacks, sample=self.sample, label=self.label)
        if threat.name not in _NORMS or ask.threat != threat:
            raise InputError(
                f"the threat {threat}",
                f"{', '.join(_NORMS)} of one eps on pixels in [0, 1]",
                f"write {Linf(1)}",
            )
        return ask


_STRONGER = ("standard", "thorough")
_NORMS = ("linf", "l2", "l1")


def _exported(network: nn.Module, source: Source, folder: Path) -> tuple[Path, int]:
    model = network if isinstance(network, Classifier) else Classifier(network)
    x, y = first_images(source)
    content, session, _ = exported(model, x, y, Linf("1/255"))
    path = folder / "model.onnx"
    write_bytes(path, content)
    return path, session.classes


def _in_memory(source: Source, classes: int) -> Examples:
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in source.epoch(None):
        images.append(batch.x.cpu())
        labels.append(batch.y.cpu())
    return Examples(torch.cat(images), torch.cat(labels), tuple(str(k) for k in range(classes)), "images")
