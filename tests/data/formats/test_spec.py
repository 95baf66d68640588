from __future__ import annotations

import builtins
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from harden.data import Examples, Splits, load
from harden.errors import InputError

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def arrays() -> Arrays:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(12, dtype=np.uint8) % 3,
        "x_test": random.integers(0, 256, (6, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(6, dtype=np.uint8) % 3,
    }


def write(folder: Path, arrays: Arrays) -> str:
    np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]
    return f"npz:{folder / 'set.npz'}"


def test_digits() -> None:
    splits = load("digits")
    assert (len(splits.train), len(splits.test)) == (1198, 599)
    assert splits.train.image_shape == (1, 8, 8)
    assert splits.train.classes == tuple("0123456789")
    assert set((splits.train.x * 16).flatten().tolist()) == set(map(float, range(17)))
    shares = splits.test.y.bincount() / (splits.test.y.bincount() + splits.train.y.bincount())
    assert (shares - 1 / 3).abs().max() < 0.004
    assert load("digits").test.digest() == splits.test.digest()


def test_digits_without_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r'pip install "harden-vision\[demo\]"'):
        load("digits")


def test_npz(tmp_path: Path, arrays: Arrays) -> None:
    splits = load(write(tmp_path, arrays))
    assert splits.name == "set"
    assert splits.train.classes == ("0", "1", "2")
    assert torch.equal(splits.train.x, torch.from_numpy(arrays["x_train"].transpose(0, 3, 1, 2).copy()))
    assert splits.test.y.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", ">f4", ">u2"])
def test_npz_of_each_type_grey_and_with_names(tmp_path: Path, arrays: Arrays, kind: str) -> None:
    for key in ("x_train", "x_test"):
        grey = arrays[key][..., 0]
        arrays[key] = (grey / 255).astype(kind) if "f" in kind else grey.astype(kind)
    arrays |= {"classes": np.array(["cat", "dog", "ant"]), "y_train": arrays["y_train"][:, None]}
    splits = load(write(tmp_path, arrays))
    assert splits.train.image_shape == (1, 6, 5)
    assert splits.train.classes == ("cat", "dog", "ant")
    scale = {"uint16": 65535, ">u2": 65535}.get(kind, 255)
    expected = (
        torch.arange(256)[
            torch.from_numpy(
                np.load(tmp_path / "set.npz")["x_train"].astype("f8") * (255 if "f" in kind else 1)
            )
            .round()
            .long()
        ]
        / scale
    )
    assert torch.allclose(splits.train.batch(torch.arange(12)).x[:, 0], expected.float(), atol=1e-6)


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.97])
def test_a_truncated_npz_is_an_input_error(tmp_path: Path, arrays: Arrays, keep: float) -> None:
    spec = write(tmp_path, arrays)
    cut(tmp_path / "set.npz", keep)
    with pytest.raises(InputError, match="unreadable"):
        load(spec)


def test_a_damaged_npz_is_an_input_error_or_reads_the_same(tmp_path: Path, arrays: Arrays) -> None:
    spec = write(tmp_path, arrays)
    content = (tmp_path / "set.npz").read_bytes()
    digest = load(spec).train.digest(), load(spec).test.digest()
    random = np.random.default_rng(0)
    refused = 0
    for position in random.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        (tmp_path / "set.npz").write_bytes(damaged)
        try:
            splits = load(spec)
        except InputError:
            refused += 1
        else:
            assert (splits.train.digest(), splits.test.digest()) == digest
    assert refused > 100


def test_npz_never_unpickles(tmp_path: Path, arrays: Arrays) -> None:
    arrays["y_test"] = np.array([{"a": 1}] * 6, dtype=object)
    with pytest.raises(InputError, match="unreadable"):
        load(write(tmp_path, arrays))


def nhwc_to_nchw(arrays: Arrays) -> Arrays:
    return arrays | {"x_train": arrays["x_train"].transpose(0, 3, 1, 2)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: {k: v for k, v in a.items() if k != "y_test"}, "y_test missing; it holds x_train"),
        (lambda a: a | {"x_train": a["x_train"].astype("f4")}, "x_train|train.*divide by 255"),
        (lambda a: a | {"x_train": a["x_train"] / 255}, "float64.*astype"),
        (lambda a: a | {"x_train": a["x_train"].astype("i8")}, "int64.*uint8"),
        (nhwc_to_nchw, r"transpose\(0, 2, 3, 1\)"),
        (lambda a: a | {"x_train": a["x_train"].reshape(12, -1)}, "stack images"),
        (lambda a: a | {"x_test": a["x_test"][:, :5]}, "one size"),
        (lambda a: a | {"y_train": a["y_train"][:5]}, "12 images and 5 labels"),
        (lambda a: a | {"y_train": a["y_train"].astype("f4")}, "integer class numbers"),
        (lambda a: a | {"x_test": a["x_test"][:0], "y_test": a["y_test"][:0]}, "no pixels"),
        (lambda a: a | {"classes": np.array(["one", "two"])}, "label of 2 with 2 classes"),
        (lambda a: a | {"classes": np.arange(3)}, "a list of names"),
    ],
)
def test_npz_with_wrong_content(tmp_path: Path, arrays: Arrays, change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(write(tmp_path, change(arrays)))


def test_npz_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(f"npz:{tmp_path / 'absent.npz'}")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match="unreadable"):
        load(f"npz:{tmp_path / 'one.npy'}")


def images(root: Path, per_class: int = 6, mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> None:
    random = np.random.default_rng(per_class)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for k in range(per_class):
            pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{k}.png")


def test_folder_with_both_parts(tmp_path: Path) -> None:
    images(tmp_path / "train", 6)
    images(tmp_path / "test", 3)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    splits = load(f"folder:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (12, 6)
    assert splits.train.classes == ("cat", "dog")
    assert splits.train.image_shape == (3, 4, 5)
    first = np.asarray(Image.open(tmp_path / "train" / "cat" / "0.png"))
    assert torch.equal(splits.train.x[0], torch.from_numpy(first.transpose(2, 0, 1).copy()))


def test_folder_is_split_by_a_third(tmp_path: Path) -> None:
    images(tmp_path, 9, "L")
    splits = load(f"folder:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (12, 6)
    assert splits.train.image_shape == (1, 4, 5)
    assert splits.test.y.bincount().tolist() == [3, 3]


def test_folder_mixes_grey_and_colour_and_keeps_sixteen_bits(tmp_path: Path) -> None:
    images(tmp_path / "mixed")
    Image.new("L", (5, 4), 77).save(tmp_path / "mixed" / "cat" / "9.png")
    mixed = load(f"folder:{tmp_path / 'mixed'}").train
    assert mixed.image_shape == (3, 4, 5)
    for name in ("cat", "dog"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for k in range(3):
            deep = np.full((4, 5), 300 + k, dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / "deep" / name / f"{k}.png")
    assert load(f"folder:{tmp_path / 'deep'}").train.x.dtype == torch.uint16


def spoil(root: Path, how: str) -> None:
    file = root / "dog" / "3.png"
    if how == "size":
        Image.new("RGB", (7, 7)).save(file)
    elif how == "truncated":
        cut(file, 0.6)
    elif how == "text":
        file.write_text("no image")
    elif how == "transparent":
        Image.new("RGBA", (5, 4), (1, 2, 3, 100)).save(file)
    elif how == "deep":
        Image.fromarray(np.zeros((4, 5), dtype=np.uint16)).save(file)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("size", r"3\.png: 7x7 pixels where the first image has 5x4.*resize"),
        ("truncated", r"3\.png: unreadable"),
        ("text", r"3\.png: unreadable"),
        ("transparent", "transparent"),
        ("deep", "uint16 pixels among uint8"),
    ],
)
def test_folder_names_the_file_that_is_wrong(tmp_path: Path, how: str, says: str) -> None:
    images(tmp_path)
    spoil(tmp_path, how)
    with pytest.raises(InputError, match=says):
        load(f"folder:{tmp_path}")


def test_folder_that_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load(f"folder:{tmp_path / 'absent'}")
    with pytest.raises(InputError, match="0 folders"):
        load(f"folder:{tmp_path}")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no image files"):
        load(f"folder:{tmp_path}")


def test_folder_whose_test_part_has_other_classes(tmp_path: Path) -> None:
    images(tmp_path / "train")
    images(tmp_path / "test")
    (tmp_path / "test" / "owl").mkdir()
    with pytest.raises(InputError, match="test has classes owl"):
        load(f"folder:{tmp_path}")


def idx(path: Path, content: NDArray[np.uint8]) -> None:
    head = struct.pack(">BBBB", 0, 0, 8, content.ndim) + struct.pack(f">{content.ndim}I", *content.shape)
    path.write_bytes(head + content.tobytes())


def test_torchvision_reads_what_is_on_disk(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, n in (("train", 20), ("t10k", 10)):
        idx(raw / f"{part}-images-idx3-ubyte", random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        idx(raw / f"{part}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))
    splits = load(f"torchvision:MNIST:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (20, 10)
    assert splits.train.image_shape == (1, 28, 28)
    assert splits.train.classes[3] == "3 - three"


def test_torchvision_with_channels_first(tmp_path: Path) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        # The files store columns first.
        pixels.transpose(0, 1, 3, 2).tofile(folder / f"{part}_X.bin")
        np.arange(1, 11, dtype=np.uint8).tofile(folder / f"{part}_y.bin")
    from torchvision import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.STL10, "_check_integrity", lambda _: True)
        splits = load(f"torchvision:STL10:{tmp_path}")
    assert torch.equal(splits.train.x, torch.from_numpy(pixels))
    assert splits.train.y.tolist() == list(range(10))


def test_torchvision_downloads_nothing_and_knows_its_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not found.*downloads nothing.*download=True\) once"):
        load(f"torchvision:CIFAR10:{tmp_path}")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="did you mean torchvision:CIFAR100:here"):
        load("torchvision:cifar100:here".replace("cifar", "CIFAR-"))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: Arrays) -> Iterator[str]:
    np.savez(tmp_path / "raw.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "own_data_module.py").write_text(
        "import numpy as np, torch\n"
        "from harden.data import load\n"
        "raw = dict(np.load('raw.npz'))\n"
        "whole = lambda: load('npz:raw.npz')\n"
        "four = lambda: tuple(raw[k] for k in ('x_train', 'y_train', 'x_test', 'y_test'))\n"
        "keyed = lambda: raw | {'classes': ['a', 'b', 'c']}\n"
        "def tensors():\n"
        "    return [torch.from_numpy(v).permute(0, 3, 1, 2) if v.ndim == 4 else torch.from_numpy(v)\n"
        "            for v in four()]\n"
        "def one(): return raw['x_train']\n"
        "def part(): return {'x_train': raw['x_train']}\n"
        "def needs(path): return path\n"
        "def fails(): raise OSError('the disk is gone')\n"
        "number = 3\n"
    )
    (tmp_path / "own_broken_module.py").write_text("import absent_dependency\n")
    monkeypatch.chdir(tmp_path)
    yield "own_data_module"
    sys.modules.pop("own_data_module", None)


@pytest.mark.parametrize("function", ["whole", "four", "keyed", "tensors"])
def test_function(module: str, function: str) -> None:
    path = list(sys.path)
    splits = load(f"{module}:{function}")
    assert isinstance(splits, Splits)
    assert splits.train.digest() == load("npz:raw.npz").train.digest()
    assert sys.path == path


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("one", "returned ndarray"),
        ("part", "returned keys x_train"),
        ("needs", "needs arguments"),
        ("absent", "has no function 'absent'"),
        ("number", "has no function 'number'"),
    ],
)
def test_function_that_does_not_fit(module: str, function: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(f"{module}:{function}")


def test_what_a_users_module_raises_is_not_hidden(module: str) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        load(f"{module}:fails")
    with pytest.raises(ModuleNotFoundError, match="absent_dependency"):
        load("own_broken_module:load")
    with pytest.raises(InputError, match="no module 'own_absent_module'"):
        load("own_absent_module:load")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("digit", "did you mean digits"),
        ("Digits", "did you mean digits"),
        ("nzp:data.npz", "did you mean npz:FILE"),
        ("fodler:data", "did you mean folder:DIR"),
        ("npz:", "did you mean npz:FILE"),
        ("torchvision:MNIST", "did you mean torchvision:NAME:ROOT"),
        ("torch-vision:MNIST:x", "did you mean torchvision:NAME:ROOT"),
        ("", "write one of these forms"),
        ("imagenet", r"expected digits · npz:FILE · folder:DIR"),
    ],
)
def test_unknown_specs_get_a_suggestion(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(spec)


def test_loaded_sets_are_examples(tmp_path: Path, arrays: Arrays) -> None:
    assert isinstance(load(write(tmp_path, arrays)).train, Examples)


@pytest.mark.parametrize("kind", ["<f4", "<i4"])
def test_folder_refuses_pixels_that_a_conversion_would_cut(tmp_path: Path, kind: str) -> None:
    """Pillow cuts float and 32-bit pixels to 0..255 on the way to RGB: a scan in [0, 1] would be black."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for k in range(3):
            deep = np.full((4, 5), 0.5 if kind == "<f4" else 60_000, dtype=kind)
            Image.fromarray(deep).save(tmp_path / name / f"{k}.tif")
    with pytest.raises(InputError, match="Pillow's mode"):
        load(f"folder:{tmp_path}")
