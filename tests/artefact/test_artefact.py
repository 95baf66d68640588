from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import harden
from harden.artefact.artefact import Artefact
from harden.errors import BrokenClaimError, InputError
from harden.models import Classifier


def test_numpy_in_the_classifiers_logits_out(trained: Classifier, issued: Path, pictures: Tensor) -> None:
    logits = harden.load(issued)(pictures.numpy())
    assert logits.dtype == np.float32
    with torch.no_grad():
        np.testing.assert_allclose(logits, trained(pictures).numpy(), rtol=1e-4, atol=1e-4)


def test_it_runs_where_torch_cannot_be_imported(issued: Path, pictures: Tensor, tmp_path: Path) -> None:
    images, logits = tmp_path / "x.npy", tmp_path / "z.npy"
    np.save(images, pictures.numpy())
    script = f"""
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
import numpy, harden
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("torch was there")
artefact = harden.load({str(issued)!r})
print(artefact.certificate)
numpy.save({str(logits)!r}, artefact(numpy.load({str(images)!r})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    np.testing.assert_array_equal(np.load(logits), harden.load(issued)(pictures.numpy()))


@pytest.mark.parametrize("name", ["model.onnx", "evidence.npz", "certificate.json"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_one_flipped_bit_is_refused_and_the_file_named(artefact: Artefact, name: str, where: float) -> None:
    path = artefact.folder / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    # A certificate whose JSON broke is no certificate; in every other case the content differs from a digest.
    with pytest.raises((BrokenClaimError, InputError), match=name.replace(".", r"\.")) as caught:
        harden.load(artefact.folder)
    if name != "certificate.json":
        assert isinstance(caught.value, BrokenClaimError)
        assert caught.value.exit_code == 1


def test_an_edited_number_is_refused(artefact: Artefact) -> None:
    path = artefact.folder / "certificate.json"
    text = path.read_text()
    assert '"eps": "1/10"' in text
    path.write_text(text.replace('"eps": "1/10"', '"eps": "1/5"'))
    with pytest.raises(BrokenClaimError, match=r"certificate\.json has changed since it was sealed"):
        harden.load(artefact.folder)


@pytest.mark.parametrize("name", ["model.onnx", "evidence.npz", "certificate.json"])
def test_a_missing_file_is_named(artefact: Artefact, name: str) -> None:
    (artefact.folder / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        harden.load(artefact.folder)


@pytest.mark.parametrize(
    ("images", "instead"),
    [
        (np.zeros((2, 1, 8, 8), np.uint8), "divide by 255"),
        (np.full((2, 1, 8, 8), 3.0, np.float32), "divide by 255"),
        (np.full((2, 1, 8, 8), 300.0, np.float32), "divide by 65535"),
        (np.full((2, 1, 8, 8), 1e6, np.float32), "the range of your sensor"),
        (np.full((2, 1, 8, 8), -0.4, np.float32), "x.clip(0, 1)"),
        (np.full((2, 1, 8, 8), -0.6, np.float32), "drop the normalisation"),
        (np.full((2, 1, 8, 8), np.nan, np.float32), "check the data for NaN"),
        (np.zeros((1, 8, 8), np.float32), "pass a batch"),
    ],
    ids=["bytes", "large", "16 bits", "sensor", "overshoot", "normalised", "nan", "one image"],
)
def test_what_are_no_pixels_is_refused(issued: Path, images: object, instead: str) -> None:
    with pytest.raises(InputError) as caught:
        harden.load(issued)(images)  # type: ignore[arg-type]
    assert instead in caught.value.instead


def test_what_is_no_array_is_refused(issued: Path) -> None:
    artefact = Artefact(issued)
    for images in ([[[0.5]], [[0.5, 0.5]]], torch.rand(1, 1, 8, 8, requires_grad=True)):
        with pytest.raises(InputError, match=r"no array .*expected a numpy array .*x\.detach") as caught:
            artefact(images)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_an_empty_batch_has_no_logits(issued: Path) -> None:
    assert harden.load(issued)(np.zeros((0, 1, 8, 8), np.float32)).shape == (0, 10)


def test_as_text_it_is_the_folder_and_every_number_with_its_n(issued: Path) -> None:
    text = str(harden.load(issued))
    predicate = harden.load(issued).certificate.predicate
    assert str(issued) in text
    assert f"({predicate.clean.count} of 40; 95 % interval" in text
    assert f"({predicate.bracket.robust.count} of 40; 95 % interval" in text
    assert "no proof was attempted" in text
