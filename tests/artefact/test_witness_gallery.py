from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harden.artefact.artefact import Artefact
from harden.artefact.witness_gallery import LARGEST, PAIRS, png


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_pixels_come_back_as_they_were() -> None:
    grey = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 63
    picture = opened(png(grey))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (8, 8))
    np.testing.assert_array_equal(np.asarray(picture), np.round(grey[0] * 255))

    colour = np.random.default_rng(0).random((3, 6, 10), dtype=np.float32)
    picture = opened(png(colour))
    assert (picture.mode, picture.size) == ("RGB", (10, 6))
    np.testing.assert_array_equal(np.asarray(picture), np.round(colour.transpose(1, 2, 0) * 255))


@pytest.mark.parametrize(
    ("height", "width", "size"), [(300, 150, (48, 96)), (97, 97, (96, 96)), (96, 20, (20, 96))]
)
def test_large_images_are_made_small(height: int, width: int, size: tuple[int, int]) -> None:
    picture = opened(png(np.full((3, height, width), 0.5, np.float32)))
    assert LARGEST == 96
    assert picture.size == size
    assert set(np.asarray(picture).flat) == {128}


def test_pixels_beyond_the_box_are_cut() -> None:
    assert np.asarray(opened(png(np.array([[[-0.5, 1.5]]], np.float32)))).tolist() == [[0, 255]]


def test_pairs_are_the_stored_witnesses(issued: Path) -> None:
    predicate = Artefact(issued).certificate.predicate
    stored = np.load(issued / "evidence.npz")
    assert len(predicate.gallery) == PAIRS == 8
    positions = [int(np.flatnonzero(stored["index"] == pair.index)[0]) for pair in predicate.gallery]
    assert positions == sorted(set(positions))
    for pair, position in zip(predicate.gallery, positions, strict=True):
        assert pair.label == pair.clean_prediction == predicate.data.classes[stored["label"][position]]
        assert pair.adversarial_prediction != pair.label
        change = stored["witness"][position] - stored["original"][position]
        assert pair.distance == pytest.approx(float(np.abs(change).max()), rel=1e-6)
        for text, image in ((pair.clean_png, "original"), (pair.adversarial_png, "witness")):
            shown = np.asarray(opened(text), np.float32)
            np.testing.assert_allclose(shown, 255 * stored[image][position, 0], atol=0.51)
        difference = np.asarray(opened(pair.difference_png), np.float32) - 127.5
        clear = np.abs(change[0]) > 0.02
        assert (np.sign(difference[clear]) == np.sign(change[0][clear])).all()
        assert np.abs(difference).max() >= 127
