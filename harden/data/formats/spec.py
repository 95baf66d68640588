"""Loading of data by a spec, a line of text as on the command line."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from harden.data.formats.digits import load_digits
from harden.data.formats.image_folder import load_folder
from harden.data.formats.npz import load_npz
from harden.data.formats.pixel_range_checks import check_extent, extent
from harden.data.formats.torchvision_sets import load_torchvision
from harden.data.formats.user_function import load_function
from harden.data.splits.split import Splits
from harden.errors import InputError

KINDS = ("digits", "npz:FILE", "folder:DIR", "torchvision:NAME:ROOT", "module:function")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def load(spec: str, *, needs_train: bool = True) -> Splits:
    """Load the data that a spec names.

    `digits` (scikit-learn's, for demonstrations) · `npz:FILE` (x_train, y_train, x_test, y_test) ·
    `folder:DIR` (one folder a class) · `torchvision:NAME:ROOT` (on disk already) · `module:function`.

    `Splits.remarks` describe the data: shape, type and range of the pixels, and files that were skipped.

    Args:
        spec: the line of text.
        needs_train: whether a training part is required. Where it is optional and missing, `train` is the
            test part: for evaluations, which use the test part alone.

    Raises:
        InputError: no such kind of spec, or the data it names is missing, damaged or invalid.
    """
    splits = _found(spec, needs_train)
    sets = [one for one in (splits.train, splits.test, splits.unlabelled) if one is not None]
    channels, height, width = splits.test.image_shape
    read = [f"{channels}x{height}x{width} (C, H, W)"]
    for kind in sorted({one.x.dtype for one in sets}, key=str):
        alike = [one.x for one in sets if one.x.dtype == kind]
        low, high = extent(alike)
        check_extent(alike[0], low, high, splits.name)
        read.append(f"{str(kind).removeprefix('torch.')} pixels from {low:.4g} to {high:.4g}")
    return replace(splits, remarks=(", ".join(read), *splits.remarks))


def _found(spec: str, needs_train: bool) -> Splits:
    kind, _, rest = spec.partition(":")
    if spec == "digits":
        return load_digits()
    if kind == "npz" and rest:
        return load_npz(rest, needs_train=needs_train)
    if kind == "folder" and rest:
        return load_folder(rest, needs_train=needs_train)
    if kind == "torchvision" and 0 < rest.find(":") < len(rest) - 1:
        name, _, root = rest.partition(":")
        return load_torchvision(name, root)
    if kind not in _names() and _FUNCTION.fullmatch(spec):
        try:
            return load_function(kind, rest, needs_train=needs_train)
        except InputError as error:
            close = _close(kind)
            if not close or "no module" not in error.seen:
                raise
            raise InputError(error.seen, error.expected, f"did you mean {close}?") from None
    close = _close(kind)
    raise InputError(
        f"data spec {spec!r}",
        " · ".join(KINDS),
        f"did you mean {close}?" if close else "write one of these forms",
    )


def _names() -> list[str]:
    return [kind.partition(":")[0] for kind in KINDS[:-1]]


def _close(kind: str) -> str:
    match = difflib.get_close_matches(kind, _names(), n=1, cutoff=0.6)
    return next((form for form in KINDS if match and form.startswith(match[0])), "")
