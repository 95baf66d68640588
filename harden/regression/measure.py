"""Measurement of an ONNX file for the regression gate, with new settings or those of a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

from torch import Tensor

from harden.artefact.attack_and_prove import AttackPlan, ExecutedFile
from harden.bounds import Method
from harden.data import Examples, Source, Splits, from_loader
from harden.data.splits.evaluation_sample import evaluated_images
from harden.deployed.evidence_level import FileAccess, gradient_free
from harden.deployed.onnx_classifier import NORMALISED, OnnxClassifier
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, TrustCheck
from harden.evaluation.proofs.prove import RadiusSearch
from harden.evaluation.suite_lookup import RESTARTS, STEPS, suite_named
from harden.regression.baseline_records import Check, DataSetting, Setting
from harden.regression.from_evaluation import (
    attack_setting,
    check_of,
    data_setting,
    distrusted,
    threat_record,
)
from harden.regression.verdict import Comparison
from harden.threats import Threat, from_name

USUAL_BATCH = 256

OnBatch = Callable[[EvaluationProgress], None]


@final
@dataclass(frozen=True, slots=True)
class CheckSpec:
    """The specification of a check: what is measured of a file.

    Attributes:
        norm: linf, l2 or l1.
        eps: the budget, as text.
        attacks: the suite's name.
        steps: of `pgd`.
        restarts: of `pgd`.
        sample: size of the fixed sample of test images, 0 for all.
        seed: of the random starts.
        certify: whether bounds are computed too.
        label: of the model, where a baseline holds several; see `harden.regression.baseline_records`.
    """

    norm: str
    eps: str
    attacks: str
    steps: int = STEPS
    restarts: int = RESTARTS
    sample: int = 0
    seed: int = 0
    certify: bool = False
    label: str = ""

    @classmethod
    def of(cls, check: Check) -> CheckSpec:
        """The specification by which a baseline's check was measured."""
        known, attacks = check.setting, check.setting.attacks
        return cls(
            norm=known.threat.norm,
            eps=known.threat.eps,
            attacks=attacks.suite,
            steps=attacks.steps or STEPS,
            restarts=attacks.restarts or RESTARTS,
            sample=known.data.sample,
            seed=known.seed,
            certify=known.certified,
            label=check.label,
        )

    @property
    def threat(self) -> Threat:
        """The threat model."""
        return from_name(self.norm, self.eps)

    def attempts(self, access: FileAccess) -> tuple[Attempt, ...]:
        """The attacks: the suite, or its gradient-free ones where the graph is not read."""
        suite = suite_named(self.attacks, self.steps, self.restarts)
        return gradient_free(suite) if access.black_box else suite

    def setting(self, data: DataSetting, access: FileAccess) -> Setting:
        """All that the result on these images depends on.

        Raises:
            InputError: bounds are to be computed where the graph is not read, or is given normalised images.
        """
        if self.certify and (access.black_box or access.mean is not None):
            raise InputError(
                f"--certify with {'--black-box' if access.black_box else '--mean and --std'}",
                "a proof, which goes by the graph of a file that takes pixels",
                "leave one of them out",
            )
        own = (self.steps, self.restarts) if self.attacks == "pgd" else (None, None)
        return Setting(
            threat=threat_record(self.threat),
            attacks=attack_setting(self.attacks, self.attempts(access), *own),
            data=data,
            seed=self.seed,
            certified=self.certify,
            evidence="C" if access.black_box else "A",
        )


@final
class FileMeasurer:
    """Measures an ONNX file on the test images of a data set; loads it at the first measurement.

    Args:
        path: an ONNX file.
        splits: the data.
        access: what attacks may use, and a normalisation outside of the file.
        batch_size: images at a time.

    Attributes:
        checks: the trust checks of what was measured last.
        caution: the warning that its clean accuracy can't be distinguished from guessing; "" where it can.
    """

    def __init__(
        self, path: Path, splits: Splits, access: FileAccess | None = None, batch_size: int = USUAL_BATCH
    ) -> None:
        self.path, self.splits, self.batch_size = path, splits, batch_size
        self.access = access or FileAccess()
        self.caution = ""
        self.checks: tuple[TrustCheck, ...] = ()
        self._minutes: float | None = None
        self._images: dict[int, tuple[Examples, DataSetting]] = {}

    def images(self, sample: int) -> tuple[Examples, DataSetting]:
        """The images of a sample and their digests."""
        if sample not in self._images:
            images = evaluated_images(self.splits, sample)
            self._images[sample] = images, data_setting(images, sample, self.access.mean, self.access.std)
        return self._images[sample]

    def setting(self, spec: CheckSpec) -> Setting:
        """The setting that a measurement would have."""
        return spec.setting(self.images(spec.sample)[1], self.access)

    def measure(
        self, spec: CheckSpec, on_batch: OnBatch | None = None, minutes: float | None = None
    ) -> tuple[Check, tuple[str, ...]]:
        """Attack the file, with onnxruntime as the judge.

        Args:
            spec: what is measured.
            on_batch: called after every batch.
            minutes: the limit of time; where it does not suffice, the result is of the first images.

        Returns:
            the check, and a reason for each trust check that fired.
        """
        images, _ = self.images(spec.sample)
        setting, source = self.setting(spec), from_loader(images, self.batch_size)
        plan = AttackPlan(spec.threat, spec.attempts(self.access), spec.seed, minutes)
        found = self._executed.attack(source, plan, on_batch)
        caution, self.checks = found.caution(self.splits.test.classes), found.checks
        self.caution = f"{caution}; {NORMALISED}" if caution else ""
        certified = self._certified(source, found) if spec.certify else None
        check = check_of(found, setting, self.file.content, certified, partly=minutes is not None)
        return check.model_copy(update={"label": spec.label}), distrusted(found)

    def cautioned(self, comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
        """The last comparisons, with a warning if they can't be distinguished from guessing."""
        return tuple(replace(each, guessing=self.caution) for each in comparisons)

    def load(self, minutes: float | None = None) -> None:
        """Load the file, and read its graph unless it is a black box: what `measure` does at first.

        Args:
            minutes: the limit of time of the measurements; see `OnnxClassifier.reading`.
        """
        self._minutes = minutes
        _ = self._executed

    @cached_property
    def file(self) -> OnnxClassifier:
        """The file, read once and loaded into the runtime.

        Raises:
            InputError: it does not fit the data.
        """
        return OnnxClassifier.of(self.path, self.splits, self.access.mean, self.access.std)

    @cached_property
    def _executed(self) -> ExecutedFile:
        if self.access.black_box:
            model = self.file.opaque()
        else:
            _, model = self.file.reading(from_loader(self.splits.test, self.batch_size), self._minutes)
        return ExecutedFile(model, self.file.judge, self.file.executions, self.file.arrangement)

    def _certified(self, images: Source, found: Evaluation) -> Tensor:
        """Which images are proved at eps, by CROWN alone: the result must not depend on the time there is."""
        search = RadiusSearch(Method(climb=None), steps=0)
        proved = self._executed.prove(images, found, search)
        if proved.disagreement is not None:
            raise InputError(
                f"{self.path}, of which nothing is proved ({proved.disagreement})",
                "what onnxruntime computes",
                "report it, with the file; meanwhile leave --certify out",
            )
        return proved.certified
