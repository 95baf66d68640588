"""Evaluation of a file: which file it is, what decides, and that a classifier is passed on as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harden.artefact.artefact import Artefact
from harden.attacks import Square
from harden.certificate.canonical_json import sha256_file
from harden.data import Batch, Examples, Source, from_loader
from harden.deployed import evaluate_file as subject
from harden.deployed.evaluate_file import FileEvaluation, evaluate, open_file
from harden.deployed.evidence_level import FileAccess
from harden.errors import BrokenClaimError, InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, pgd_suite
from harden.evaluation import evaluate as evaluate_classifier
from harden.losses import Margin
from harden.threats import Linf
from tests.deployed.lines import CLASSES, greys, line_file, line_model
from tests.evaluation.by_hand import written_down

EARLIER = Path(__file__).parents[1] / "earlier_versions" / "made" / "run"
THREAT, SUITE = Linf("1/8"), pgd_suite(3, 1)
VALUES = (0.2, 0.4, 0.45, 0.7, 0.55, 0.8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return line_file(tmp_path)


@pytest.fixture
def images() -> Examples:
    return greys(*VALUES, wrong=(3,))


def source(n: int, *shape: int, classes: tuple[str, ...] = CLASSES) -> Source:
    x, y = torch.full((n, *shape), 0.5), torch.arange(n) % len(classes)
    return from_loader(Examples(x, y, classes, "grey"), 4)


# The result


@pytest.mark.parametrize("fired", [False, True])
def test_the_result_is_that_of_the_evaluation(fired: bool) -> None:
    inner = written_down(fired=fired)
    found = FileEvaluation(inner, "B", "a twin", "ab")
    assert found.status == inner.status
    assert (found.clean, found.robust) == (inner.clean, inner.robust)
    assert found.checks is inner.checks
    assert found.witnesses is inner.witnesses
    first, *_, last = repr(found).splitlines()
    assert repr(found).startswith(repr(inner))
    assert first.startswith("<Evaluation")
    assert last == "  evidence level B: a twin"


def test_the_file_decides_in_onnxruntime(path: Path, images: Examples) -> None:
    steps: list[EvaluationProgress] = []
    found = evaluate(path, images, THREAT, SUITE, batch_size=4, on_batch=steps.append)
    assert (found.level, found.sha256) == ("A", sha256_file(path))
    assert found.found.clean_correct.tolist() == [True, True, True, False, True, True]
    assert found.found.broken.tolist() == [False, True, True, False, True, False]
    assert "white box through its own graph" in found.decided_by
    assert [at.done for at in steps] == [4, 6]


def test_the_options_reach_the_attacks(path: Path, images: Examples, tmp_path: Path) -> None:
    kept, few = tmp_path / "kept", images.take(torch.tensor([1, 5]))
    queries: dict[str, Any] = {
        "attempts": [Attempt("queries", Square(queries=20), Margin)],
        "journal": kept,
        "access": FileAccess(black_box=True),
    }
    found = evaluate(str(path), few, THREAT, seed=4, **queries)
    assert found.level == "C"
    assert {record.name for record in found.found.attempts} == {"queries", "noise"}
    assert (kept / "batch-000000.safetensors").is_file()
    with pytest.raises(InputError, match="another seed"):
        evaluate(path, few, THREAT, seed=5, **queries)
    with pytest.raises(InputError, match="no image that was finished in 1e-09 minutes"):
        evaluate(path, few, THREAT, SUITE, minutes=1e-9)


def test_the_suite_is_standard_by_default(
    path: Path, images: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "standard", lambda: SUITE[:1])
    found = evaluate(path, images, THREAT)
    assert found.found.attempts[0].name == SUITE[0].name


def test_a_classifier_is_evaluated_with_its_own_options(images: Examples) -> None:
    model = line_model()
    steps: list[EvaluationProgress] = []
    found = evaluate(
        model,
        images,
        THREAT,
        SUITE,
        judge=lambda x: -model.logits(x),
        seed=2,
        batch_size=4,
        on_batch=steps.append,
    )
    assert [at.done for at in steps] == [4, 6]
    expected = evaluate_classifier(
        model, images, THREAT, SUITE, judge=lambda x: -model.logits(x), seed=2, batch_size=4
    )
    assert isinstance(found, Evaluation)
    assert found.clean.count == expected.clean.count == 1
    assert torch.equal(found.broken_by, expected.broken_by)


# What does not fit together


def test_options_of_the_other_kind_are_refused(path: Path, images: Examples) -> None:
    mixed: Any = evaluate
    for words, seen, expected in (
        ((line_model(), {"access": FileAccess()}), "access with a classifier", "a file"),
        ((path, {"judge": line_model().logits}), "judge with a file", "the file alone, which decides itself"),
    ):
        model, more = words
        with pytest.raises(InputError) as caught:
            mixed(model, images, THREAT, SUITE, **more)
        assert (caught.value.seen, caught.value.expected) == (seen, expected)
        assert "leave" in caught.value.instead


def test_a_threat_by_its_name_is_refused_before_the_file_is_read(images: Examples) -> None:
    with pytest.raises(InputError, match="expected Linf, L2 or L1"):
        evaluate("/nowhere/model.onnx", images, "linf", SUITE)  # type: ignore[call-overload]  # wrong on purpose


def test_a_device_that_is_none_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="device"):
        open_file(path, source(4, 1, 2, 2), FileAccess(device="tpu:x"))


# The file


@pytest.mark.parametrize(
    ("classes", "taken"),
    [
        (("dark", "bright"), True),
        (("0",), True),
        (("one",), False),
        (("0", "1", "2"), False),
    ],
)
def test_the_classes_of_the_data_are_those_of_the_file(
    path: Path, classes: tuple[str, ...], taken: bool
) -> None:
    """Of numbers the highest may be missing, for labels alone name no class."""
    if taken:
        assert open_file(path, source(4, 1, 2, 2, classes=classes), FileAccess()).classes == 2
    else:
        with pytest.raises(InputError, match=f"with 2 classes; expected {len(classes)}, as the data has"):
            open_file(path, source(4, 1, 2, 2, classes=classes), FileAccess())


def test_data_without_names_of_classes_are_taken(path: Path) -> None:
    class Own:
        """A user's own source."""

        batch_size = 2

        def __len__(self) -> int:
            return 2

        def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
            yield Batch(torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]), torch.arange(2))

    own: Any = Own()
    assert open_file(path, own, FileAccess()).image_shape == (1, 2, 2)


def test_no_images_are_refused(path: Path) -> None:
    class Empty:
        def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
            return iter(())

    empty: Any = Empty()
    with pytest.raises(InputError) as caught:
        open_file(path, empty, FileAccess())
    assert caught.value.seen == "no examples"
    assert caught.value.expected == "at least one image"
    assert "drop_last" in caught.value.instead


def test_mean_and_std_of_the_access_are_those_of_the_file(path: Path) -> None:
    found = open_file(path, source(2, 1, 2, 2), FileAccess(mean=(0.25,), std=(0.5,)))
    assert (found.mean, found.std) == ((0.25,), (0.5,))


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EARLIER, tmp_path / "artefact"))


def of_artefact(folder: Path) -> Source:
    predicate = Artefact(folder).certificate.predicate
    return source(4, *predicate.data.image_shape, classes=predicate.data.classes)


def test_an_artefact_is_its_folder_or_what_is_loaded_from_it(artefact: Path) -> None:
    images = of_artefact(artefact)
    for model in (artefact, str(artefact), Artefact(artefact)):
        assert open_file(model, images, FileAccess()).path == artefact / "model.onnx"


def test_a_file_that_differs_from_its_certificate_is_refused(artefact: Path) -> None:
    images, loaded = of_artefact(artefact), Artefact(artefact)
    assert loaded.certificate.subject[0].name == "model.onnx"
    with (artefact / "model.onnx").open("ab") as file:
        file.write(b"\x72\x00")  # an empty field more: the same graph
    found, expected = sha256_file(artefact / "model.onnx"), loaded.certificate.subject[0].digest["sha256"]
    for model in (artefact, loaded):
        with pytest.raises(BrokenClaimError) as caught:
            open_file(model, images, FileAccess())
        assert caught.value.seen == f"{artefact / 'model.onnx'} with sha256 {found[:16]}..."
        assert caught.value.expected == f"{expected[:16]}... as certified"
        assert "restore the file" in caught.value.instead
    # Named by itself it is a file without a claim.
    assert open_file(artefact / "model.onnx", images, FileAccess()).classes > 1


def test_a_folder_without_a_certificate_is_the_file_in_it(path: Path, images: Examples) -> None:
    found = evaluate(path.parent, images, THREAT, SUITE[:1])
    assert found.sha256 == sha256_file(path)
