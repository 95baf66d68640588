"""Strides, pads and dilations of layers with windows."""

from __future__ import annotations

from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, UnsupportedError


def windows(call: NodeView, kernel: Size) -> tuple[Size, Size, Size]:
    """Strides, pads and dilations, `auto_pad` resolved for the image's size.

    Raises:
        UnsupportedError: there is no such window, or runtimes differ on it.
    """
    axes = len(kernel)
    if call.rank != axes + 2:  # torch would take the batch for the channels
        raise UnsupportedError(f"a window of {axes} dimensions over {call.rank}")
    strides = call.numbers("strides", (1,) * axes)
    dilations = call.numbers("dilations", (1,) * axes)
    pads = call.numbers("pads", (0,) * (2 * axes))
    automatic = call.word("auto_pad", "NOTSET")
    if automatic.startswith("SAME") and any(size != 1 for size in dilations):
        # onnxruntime refuses it in convolutions, and pools over other windows than ONNX says.
        raise UnsupportedError(f"auto_pad={automatic} with dilations={list(dilations)}")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        needed = [
            (-(-size // stride) - 1) * stride + width - size
            for size, stride, width in zip(call.shape[2:], strides, kernel, strict=True)
        ]
        upper = automatic == "SAME_UPPER"
        # A negative padding, where steps leave gaps: onnxruntime's convolutions cut so much off, its pools
        # refuse it, and ONNX's reference pads by 0. Behind the last window both are the same.
        least = (-1 if upper else -2) if call.kind == "Conv" else 0
        if min(needed) < least:
            said = f"auto_pad={automatic} with strides={list(strides)} past a kernel of {list(kernel)}"
            raise UnsupportedError(said)
        small = tuple(max(total, 0) // 2 for total in needed)
        large = tuple(max(total, 0) - half for total, half in zip(needed, small, strict=True))
        pads = small + large if upper else large + small
    elif automatic == "VALID":
        pads = (0,) * (2 * axes)
    return strides, pads, dilations
