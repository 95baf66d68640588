"""Threat models as values: a threat owns its norm, random start, step, projection and exact membership."""

from __future__ import annotations

from harden.threats.budgets import Number, check_bounds
from harden.threats.channels import ChannelLinf
from harden.threats.l1 import L1
from harden.threats.l2 import L2
from harden.threats.linf import Linf
from harden.threats.named_threats import from_name
from harden.threats.threat import Threat

__all__ = ["L1", "L2", "ChannelLinf", "Linf", "Number", "Threat", "check_bounds", "from_name"]
