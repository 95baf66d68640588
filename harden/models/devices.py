"""Parsing and validation of device names."""

from __future__ import annotations

import torch

from harden.errors import InputError

_ADVICE = 'write --device cpu (in Python device="cpu"), or run `harden doctor`'


def check_device(name: str | torch.device) -> torch.device:
    """Return the device of a name.

    Raises:
        InputError: no such device is available.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device {name!r}", "cpu or cuda", _ADVICE) from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in ("cpu", "cuda") or (device.index or 0) >= count:
        seen = f"device {str(name)!r} with {torch.cuda.device_count()} CUDA devices here"
        raise InputError(seen, "a device that is there", _ADVICE)
    return device
