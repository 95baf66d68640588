"""Data named by a line of text, as the command line takes it."""

from __future__ import annotations

from harden.data.splitting import Splits


def load(spec: str) -> Splits:
    """Load the data that a spec names.

    `digits` | `npz:FILE` | `folder:DIR` | `torchvision:NAME:ROOT` | `module:function`
    """
    raise NotImplementedError
