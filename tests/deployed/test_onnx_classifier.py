"""An ONNX file as a classifier: its layouts, its classes, its reading, and which files are refused."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from harden.data import Examples, Source, Splits, from_loader
from harden.deployed.onnx_classifier import (
    NORMALISED,
    OnnxClassifier,
    classes_of,
    file_of,
    names_onnx_file,
)
from harden.errors import InputError
from harden.graph import UnreadableError
from tests.bounds.networks import Builder
from tests.deployed.lines import CLASSES, greys, line_file, line_model

SHAPE = (1, 2, 2)
VALUES = (0.2, 0.45, 0.55, 0.8)


def images() -> Tensor:
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def source(examples: Examples | None = None) -> Source:
    return from_loader(examples or greys(*VALUES), 4)


def splits(classes: tuple[str, ...] = CLASSES, name: str = "greys", alone: bool = False) -> Splits:
    part = Examples(greys(*VALUES).x, greys(*VALUES).y, classes, name)
    return Splits(part if alone else part.take(torch.arange(4)), part, name)


def saved(net: Builder, folder: Path, name: str = "other.onnx") -> Path:
    onnx.save(net.model(), folder / name)
    return folder / name


def weights(columns: int = 2, rows: int = 4) -> np.ndarray[Any, np.dtype[np.float32]]:
    """All ones in the last column."""
    found = np.zeros((rows, columns), dtype=np.float32)
    found[:, -1] = 1
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return line_file(tmp_path)


@pytest.fixture
def file(path: Path) -> OnnxClassifier:
    return OnnxClassifier.load(path, SHAPE)


# Paths


@pytest.mark.parametrize(
    ("name", "yes"),
    [("a.onnx", True), ("runs/a.onnx", True), ("a.onnx/", False), ("m:f.onnx", False), ("small", False)],
)
def test_a_name_is_that_of_a_file_by_its_ending(name: str, yes: bool) -> None:
    assert names_onnx_file(name) is yes


def test_a_file_is_found_by_its_name_or_in_its_folder(path: Path) -> None:
    assert file_of(str(path)) == path
    assert file_of(str(path.parent)) == path


def test_a_missing_file_and_another_model_are_named(tmp_path: Path) -> None:
    for model, seen in (
        (f"{tmp_path}/none.onnx", f"{tmp_path}/none.onnx, where no ONNX file is"),
        (str(tmp_path), f"model '{tmp_path}'"),
        ("small", "model 'small'"),
    ):
        with pytest.raises(InputError) as caught:
            file_of(model)
        assert caught.value.seen == seen
        assert caught.value.expected == "an ONNX file, or a folder with a model.onnx"
        assert caught.value.instead == "export the model first: harden export"


# Loading


def test_the_file_decides_as_the_network_does(file: OnnxClassifier, path: Path) -> None:
    x = images()
    expected = line_model().logits(x).detach()
    torch.testing.assert_close(file.judge(x), expected)
    np.testing.assert_array_equal(file(x.numpy()), file.judge(x).numpy())
    assert file.classes == 2
    assert file.image_shape == SHAPE
    assert file.content == path.read_bytes()


def test_the_bytes_that_were_read_are_executed_whatever_becomes_of_the_file(
    file: OnnxClassifier, path: Path
) -> None:
    x, before = images(), file.judge(images())
    path.write_bytes(b"something else")
    assert torch.equal(file.judge(x), before)


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 2, 2)])
def test_images_of_another_size_are_refused(path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        OnnxClassifier.load(path, shape)
    assert caught.value.seen == f"{path} for images {SHAPE}"
    assert caught.value.expected.startswith(f"images {shape}, (C, H, W), as the data has them")
    assert caught.value.instead == "bring images and file to one size and layout"


def test_channels_may_be_last(tmp_path: Path) -> None:
    net = Builder((2, 2, 3))
    net.add("Flatten")
    net.add("Gemm", net.normal(12, 2))
    path = saved(net, tmp_path)
    file = OnnxClassifier.load(path, (3, 2, 2))
    x = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(file.inputs(x), x.movedim(1, -1))
    assert file.image_shape == (3, 2, 2)
    _, model = file.reading(from_loader((x, torch.tensor([0, 1, 0, 1])), 4))
    torch.testing.assert_close(model.logits(x).detach(), file.judge(x))


def test_one_logit_is_for_two_classes(tmp_path: Path) -> None:
    net = Builder(SHAPE)
    net.add("Flatten")
    net.add("Gemm", weights(1), np.array([-2], dtype=np.float32))
    file = OnnxClassifier.load(saved(net, tmp_path), SHAPE)
    assert file.classes == 2
    x = images()
    expected = torch.stack([torch.zeros(5), x.flatten(1).sum(1) - 2], 1)
    torch.testing.assert_close(file.judge(x), expected)
    said = file.other_classes(3)
    assert said.seen == f"{file.path} with one logit, read as two classes"
    assert said.expected == "3, as the data has"


def test_a_map_for_each_image_is_no_classification(tmp_path: Path) -> None:
    net = Builder(SHAPE)
    net.add("Conv", net.normal(2, 1, 1, 1))
    with pytest.raises(InputError) as caught:
        OnnxClassifier.load(saved(net, tmp_path), SHAPE)
    assert "gives an answer of shape (2, 2, 2) for each image" in caught.value.seen
    assert caught.value.expected == "a classifier's logits, (K,)"
    assert "segmentation and detection are not covered" in caught.value.instead
    assert classes_of(OnnxClassifier.load(line_file(tmp_path), SHAPE).session) == 2


# Classes of the data


def test_the_data_have_the_classes_of_the_file(path: Path) -> None:
    assert OnnxClassifier.of(path, splits()).classes == 2
    with pytest.raises(InputError) as caught:
        OnnxClassifier.of(path, splits(("a", "b", "c")))
    assert caught.value.seen == f"{path} with 2 classes"
    assert caught.value.expected == "3, as the data has"


@pytest.mark.parametrize(
    ("classes", "alone", "taken"),
    [
        (("0", "1"), True, True),
        (("a", "b"), True, False),
        (("0", "1"), False, False),
        (("0", "1", "2", "3"), True, False),
    ],
)
def test_of_a_test_part_alone_the_highest_numbers_may_be_missing(
    tmp_path: Path, classes: tuple[str, ...], alone: bool, taken: bool
) -> None:
    net = Builder(SHAPE)
    net.add("Flatten")
    net.add("Gemm", weights(3))
    path, data = saved(net, tmp_path), splits(classes, alone=alone)
    assert data.is_test_alone is alone
    if taken:
        assert OnnxClassifier.of(path, data).classes == 3
    else:
        with pytest.raises(InputError, match=f"with 3 classes; expected {len(classes)}, as the data has"):
            OnnxClassifier.of(path, data)


# Normalisation outside of the file


def test_images_are_normalised_before_they_are_arranged(path: Path) -> None:
    file, x = OnnxClassifier.load(path, SHAPE, (0.25,), (0.5,)), images()
    torch.testing.assert_close(file.inputs(x), (x - 0.25) / 0.5)
    _, model = file.reading(source())
    torch.testing.assert_close(model.logits(x).detach(), file.judge(x))


def test_each_channel_has_its_own_mean_or_all_have_one(tmp_path: Path) -> None:
    net = Builder((2, 1, 1))
    net.add("Flatten")
    net.add("Gemm", weights(2, 2))
    file = OnnxClassifier.load(saved(net, tmp_path), (2, 1, 1), (0.25, 0.75), (0.5, 0.125))
    x = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1)
    assert file.inputs(x).flatten().tolist() == [0.5, -2.0]
    alike = OnnxClassifier.load(file.path, (2, 1, 1), (0.25,), (0.5,))
    assert alike.inputs(x).flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("mean", "std", "seen"),
    [
        ((0.5, 0.5), (0.5, 0.5), "2 means for images with 1 channels"),
        ((0.5,), None, "mean without std"),
        ((0.5,), (0.5, 0.5), "1 means and 2 deviations"),
    ],
)
def test_mean_and_std_that_do_not_fit_are_refused(
    path: Path, mean: tuple[float, ...], std: tuple[float, ...] | None, seen: str
) -> None:
    with pytest.raises(InputError) as caught:
        OnnxClassifier.load(path, SHAPE, mean, std)
    assert caught.value.seen == seen


def test_nothing_is_proved_of_a_file_that_is_normalised_outside(path: Path) -> None:
    with pytest.raises(InputError, match=r"a proof of .* with --mean and --std; expected a file that norm"):
        OnnxClassifier.load(path, SHAPE, (0.25,), (0.5,)).executions()
    assert "--mean and --std" in NORMALISED


def test_a_file_without_normalisation_is_bounded(file: OnnxClassifier) -> None:
    (found,) = file.executions()
    assert found.program.size == SHAPE


# The reading


def test_the_reading_has_the_logits_and_gradients_of_the_file(file: OnnxClassifier) -> None:
    graph, model = file.reading(source())
    assert [type(node.operation).__name__ for node in graph.nodes][-1] == "Gemm"
    x = images().requires_grad_()
    logits = model.logits(x)
    torch.testing.assert_close(logits.detach(), file.judge(x.detach()))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), x)
    torch.testing.assert_close(gradient, torch.ones_like(gradient))


def test_an_unknown_operator_is_named_with_what_can_be_done(tmp_path: Path) -> None:
    net = Builder(SHAPE)
    net.add("Sin")
    net.add("Flatten")
    net.add("Gemm", weights())
    file = OnnxClassifier.load(saved(net, tmp_path), SHAPE)
    with pytest.raises(UnreadableError) as caught:
        file.reading(source())
    assert caught.value.seen.startswith(f"{file.path}: ")
    assert "Sin" in caught.value.seen
    assert "operators with a rule" in caught.value.expected
    assert "write --black-box" in caught.value.instead


def test_a_reading_that_computes_something_else_is_refused(
    file: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = file.judge
    monkeypatch.setattr(OnnxClassifier, "judge", lambda self, x: own(x) + 0.01)
    with pytest.raises(InputError) as caught:
        file.reading(source())
    assert caught.value.seen.startswith(f"{file.path}, whose reading computes something else (")
    assert caught.value.expected == "what onnxruntime computes"
    assert caught.value.instead == "report it, with the file; meanwhile attack it with --black-box"


@pytest.mark.parametrize(("minutes", "images"), [(None, 4), (1000.0, 4), (10.0, 3), (1e-9, 1)])
def test_with_little_time_the_reading_is_compared_on_fewer_images(
    file: OnnxClassifier, monkeypatch: pytest.MonkeyPatch, minutes: float | None, images: int
) -> None:
    """A clock moves by a second when it is read: an image costs 10, and 5 % of 10 minutes suffice for 3."""
    readings, sizes, own = count(), list[int](), file.judge
    clock = SimpleNamespace(perf_counter=lambda: float(next(readings)))
    monkeypatch.setattr("harden.deployed.onnx_classifier.time", clock)

    def noted(self: OnnxClassifier, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return own(x)

    monkeypatch.setattr(OnnxClassifier, "judge", noted)
    file.reading(source(), minutes)
    assert sizes[:2] == [1, images]


def quantised(folder: Path) -> OnnxClassifier:
    net = Builder(SHAPE)
    step, zero = np.array(1 / 64, dtype=np.float32), np.array(0, dtype=np.uint8)
    names = [net.constant(step), net.constant(zero)]  # type: ignore[arg-type]  # of any type
    net.add("QuantizeLinear", *names)
    net.add("DequantizeLinear", *names)
    net.add("Flatten")
    net.add("Gemm", weights(), np.array([0, -2], dtype=np.float32))
    return OnnxClassifier.load(saved(net, folder), SHAPE)


def test_a_quantised_file_is_read_where_most_images_are_classified_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = quantised(tmp_path)
    own = file.judge
    five = source(greys(0.2, 0.3, 0.4, 0.6, 0.8))

    def contrary(*rows: int) -> None:
        def judge(self: OnnxClassifier, x: Tensor) -> Tensor:
            found = own(x)
            for row in rows:
                found[row : row + 1] *= -1
            return found

        monkeypatch.setattr(OnnxClassifier, "judge", judge)

    # Logits that differ by a step are no other classes.
    monkeypatch.setattr(OnnxClassifier, "judge", lambda self, x: own(x) + 1 / 64)
    file.reading(five)
    contrary(0)
    file.reading(five)
    contrary(0, 1)
    with pytest.raises(InputError, match="3 of 5 images classified alike"):
        file.reading(five)


def test_the_opaque_file_has_the_same_logits_and_no_gradient(file: OnnxClassifier) -> None:
    model, x = file.opaque(), images().requires_grad_()
    logits = model.logits(x)
    assert torch.equal(logits.detach(), file.judge(x.detach()))
    assert not logits.requires_grad
