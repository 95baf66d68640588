"""The only interface to the compiled library: attack steps that stay exactly inside the ball, random numbers.

They run natively or in plain torch; `backend()` says which of the two on a device, and why.
"""

from __future__ import annotations

from harden.kernels.l1_steps import l1_project_, l1_step_, topk_threshold
from harden.kernels.load_library import backend
from harden.kernels.masked_copy import copy_rows_
from harden.kernels.momentum_steps import apgd_l2_step_, apgd_linf_step_
from harden.kernels.random_fill import fill_normal_, fill_uniform_
from harden.kernels.steps import l2_step_, linf_step_, not_finite

__all__ = [
    "apgd_l2_step_",
    "apgd_linf_step_",
    "backend",
    "copy_rows_",
    "fill_normal_",
    "fill_uniform_",
    "l1_project_",
    "l1_step_",
    "l2_step_",
    "linf_step_",
    "not_finite",
    "topk_threshold",
]
