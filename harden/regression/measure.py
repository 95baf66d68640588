"""A file measured for the gate: by the settings of the command line, or by those of a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

from torch import Tensor

from harden.bounds import Method
from harden.data import Examples, Splits, from_loader
from harden.data.splits.test_sample import evaluated_images
from harden.deployed.evidence_level import blind
from harden.deployed.onnx_classifier import NORMALISED, Bare, Numbers
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, TrustCheck, evaluate
from harden.evaluation.named_suites import RESTARTS, STEPS, suite_named
from harden.evaluation.proofs.prove import EvaluatedImages, RadiusSearch, prove
from harden.graph import Graph
from harden.models import Classifier
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
class Way:
    """How a file is gone about.

    Attributes:
        batch_size: images at a time.
        black_box: whether its graph is left unread, and it is asked for scores alone.
        mean: of the normalisation that it expects its images to have gone through; None for none.
        std: likewise.
    """

    batch_size: int = USUAL_BATCH
    black_box: bool = False
    mean: Numbers = None
    std: Numbers = None


@final
@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be measured.

    Attributes:
        norm: linf, l2 or l1.
        eps: the budget, as text.
        attacks: the suite's name.
        steps: of `pgd`.
        restarts: of `pgd`.
        sample: how many test images, 0 for all.
        seed: of the random starts.
        certify: whether bounds are computed too.
        label: the model, where a baseline holds several; see `harden.regression.baseline_records`.
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
    def again(cls, check: Check) -> Ask:
        """What a baseline's check asked for."""
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

    def attempts(self, way: Way) -> tuple[Attempt, ...]:
        """The attacks: the suite, or what is left of it where the graph is not read."""
        suite = suite_named(self.attacks, self.steps, self.restarts)
        return blind(suite) if way.black_box else suite

    def setting(self, data: DataSetting, way: Way) -> Setting:
        """All that the result depends on, on these images.

        Raises:
            InputError: bounds are to be computed where the graph is not read, or is given normalised images.
        """
        if self.certify and (way.black_box or way.mean is not None):
            raise InputError(
                f"--certify with {'--black-box' if way.black_box else '--mean and --std'}",
                "a proof, which goes by the graph of a file that takes pixels",
                "leave one of them out",
            )
        own = (self.steps, self.restarts) if self.attacks == "pgd" else (None, None)
        return Setting(
            threat=threat_record(self.threat),
            attacks=attack_setting(self.attacks, self.attempts(way), *own),
            data=data,
            seed=self.seed,
            certified=self.certify,
            evidence="C" if way.black_box else "A",
        )


@final
class Gauge:
    """A file on the test images of a data set; it is loaded when something is measured.

    Args:
        path: an ONNX file.
        splits: the data.
        way: how it is gone about.

    Attributes:
        checks: the trust checks of what was measured last.
        caution: the warning that its clean accuracy can't be told from guessing; "" where it can.
    """

    def __init__(self, path: Path, splits: Splits, way: Way | None = None) -> None:
        self.path, self.splits, self.way = path, splits, way or Way()
        self.caution = ""
        self.checks: tuple[TrustCheck, ...] = ()
        self._minutes: float | None = None
        self._images: dict[int, tuple[Examples, DataSetting]] = {}

    def images(self, sample: int) -> tuple[Examples, DataSetting]:
        """The images of a sample and their digests."""
        if sample not in self._images:
            images = evaluated_images(self.splits, sample)
            self._images[sample] = images, data_setting(images, sample, self.way.mean, self.way.std)
        return self._images[sample]

    def setting(self, ask: Ask) -> Setting:
        """What a measurement would be made with."""
        return ask.setting(self.images(ask.sample)[1], self.way)

    def measure(
        self, ask: Ask, on_batch: OnBatch | None = None, minutes: float | None = None
    ) -> tuple[Check, tuple[str, ...]]:
        """Attack the file, with onnxruntime as the judge, and give what was found and why to distrust it.

        Args:
            ask: what is measured.
            on_batch: called after every batch.
            minutes: how long it may take; what is found is of the first images where it does not suffice.
        """
        images, _ = self.images(ask.sample)
        setting = self.setting(ask)
        model = self.bare.opaque() if self.way.black_box else self._reading[1]
        found = evaluate(
            model,
            from_loader(images, self.way.batch_size),
            ask.threat,
            ask.attempts(self.way),
            judge=self.bare.judge,
            seed=ask.seed,
            minutes=minutes,
            on_batch=on_batch,
        )
        caution, self.checks = found.caution(self.splits.test.classes), found.checks
        self.caution = f"{caution}; {NORMALISED}" if caution else ""
        certified = self._certified(images, found) if ask.certify else None
        check = check_of(found, setting, self.bare.content, certified, partly=minutes is not None)
        return check.model_copy(update={"label": ask.label}), distrusted(found)

    def cautioned(self, comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
        """Comparisons of what was measured last, with the warning that it can't be told from guessing."""
        return tuple(replace(each, guessing=self.caution) for each in comparisons)

    def load(self, minutes: float | None = None) -> None:
        """Load the file, and read it where it is read: what `measure` does at first.

        Args:
            minutes: the limit of time of the measurements; see `Bare.reading`.
        """
        self._minutes = minutes
        _ = self.bare if self.way.black_box else self._reading

    @cached_property
    def bare(self) -> Bare:
        """The file, read once and loaded into the runtime.

        Raises:
            InputError: it does not fit the data.
        """
        return Bare.of(self.path, self.splits, self.way.mean, self.way.std)

    @cached_property
    def _reading(self) -> tuple[Graph, Classifier]:
        return self.bare.reading(from_loader(self.splits.test, self.way.batch_size), self._minutes)

    def _certified(self, images: Examples, found: Evaluation) -> Tensor:
        """Which images are proved, without a climb: what is proved must not depend on the time there is."""
        search = RadiusSearch(Method(climb=None), steps=0)
        source = from_loader(images, self.way.batch_size)
        proved = prove(self.bare.executions(), EvaluatedImages(source, found, self.bare.arrangement), search)
        if proved.disagreement is not None:
            raise InputError(
                f"{self.path}, of which nothing is proved ({proved.disagreement})",
                "what onnxruntime computes",
                "report it, with the file; meanwhile leave --certify out",
            )
        return proved.certified
