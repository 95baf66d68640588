"""Windows of random geometry, and their comparison with the runtime's."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from harden.graph import read
from tests.graph.graphs import Array, normal, one, run


def geometry(draw: random.Random, axes: int, dilated: bool) -> dict[str, Any]:
    """Attributes that every release of the runtime takes: pads below the window, none that dilates SAME."""
    kernel = [draw.randint(1, 4) for _ in range(axes)]
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw.randint(1, 3) for _ in range(axes)]}
    mode = draw.choice(["any pads", "any pads", "alike", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if mode == "any pads":
        found["pads"] = [draw.randint(0, kernel[at % axes] - 1) for at in range(2 * axes)]
    elif mode == "alike":
        found["pads"] = 2 * [draw.randint(0, width - 1) for width in kernel]
    else:
        found["auto_pad"] = mode
    if mode.startswith("SAME"):  # where steps leave a gap the runtime refuses it
        found["strides"] = [min(pair) for pair in zip(found["strides"], kernel, strict=True)]
    elif dilated and draw.random() < 0.4:
        found["dilations"] = [draw.randint(1, 2) for _ in range(axes)]
    return found


def compared(kind: str, shape: tuple[int, ...], *weights: Array, **attributes: Any) -> None:
    """Assert that the graph gives what the runtime gives, and a gradient that is a number everywhere."""
    file = one(kind, ("n", *shape), *weights, **attributes)
    x = normal(2, *shape, seed=sum(shape))
    expected = run(file, x)
    given = torch.from_numpy(x).requires_grad_()
    found = read(file).run(given)
    assert tuple(found.shape) == expected.shape, attributes
    np.testing.assert_allclose(
        found.detach().numpy(), expected, rtol=2e-5, atol=2e-5, err_msg=str(attributes)
    )
    (gradient,) = torch.autograd.grad(found.sum(), given)
    assert bool(gradient.isfinite().all())
