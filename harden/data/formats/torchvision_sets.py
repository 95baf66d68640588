"""Loader of data sets that torchvision reads and that are already on disk; nothing is downloaded."""

from __future__ import annotations

import difflib
import pickle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harden.data.formats.arrays import KEYS, from_arrays
from harden.data.splits.split import Splits
from harden.errors import InputError

# Sets of one image size with one class an image, and the argument that chooses the part.
_BY_TRAIN = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "USPS")
_BY_SPLIT = ("STL10", "SVHN")  # these two store channels first
NAMES = (*_BY_TRAIN, *_BY_SPLIT)


def load_torchvision(name: str, root: str) -> Splits:
    """Load the training and the test part of torchvision.datasets.NAME from the folder ROOT.

    Raises:
        InputError: NAME is not one of `NAMES`, or its files are not in ROOT or are damaged.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
        raise InputError(
            f"torchvision:{name}: not a set that harden reads by name",
            f"one of {', '.join(NAMES)}",
            f"did you mean torchvision:{close[0]}:{root}?"
            if close
            else "write a function that returns arrays and name it as module:function",
        )
    train, test = (_open(name, root, first) for first in (True, False))
    classes = getattr(train, "classes", None)
    arrays: dict[str, object] = dict(zip(KEYS, (*_stored(train), *_stored(test)), strict=True))
    return from_arrays(arrays, name, classes)


def _open(name: str, root: str, first: bool) -> Any:
    from torchvision import datasets

    option = {"train": first} if name in _BY_TRAIN else {"split": "train" if first else "test"}
    try:
        return getattr(datasets, name)(root, download=False, **option)
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        arguments = ", ".join(f"{key}={value!r}" for key, value in option.items())
        raise InputError(
            f"torchvision:{name}:{root}: {'train' if first else 'test'} part not readable ({error})",
            f"the files of {name} in {root}; harden downloads nothing",
            f"run torchvision.datasets.{name}({root!r}, {arguments}, download=True) once",
        ) from error


def _stored(dataset: Any) -> tuple[object, object]:
    """Return images and labels as from_arrays takes them: arrays have channels last, tensors first."""
    images = dataset.data
    if isinstance(images, Tensor):
        images = images.numpy()
    elif type(dataset).__name__ in _BY_SPLIT:
        images = torch.from_numpy(images)
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return images, np.asarray(labels)
