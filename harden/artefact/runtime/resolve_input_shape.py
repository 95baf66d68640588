"""Dynamic sizes of an input, resolved from the shape of the images."""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]


def filled(size: Sequence[int | None], image: Shape) -> Shape | None:
    """An input's size with dynamic dimensions, given as None, from the shape of images (C, H, W).

    Channels come first where both orders fit; images of one channel may be a row. Inputs of another rank have
    one order. None where no order fits.
    """
    orders: list[Shape] = [image]
    if len(image) == 3:
        channels, height, width = image
        orders.append((height, width, channels))
        if channels == 1:
            orders.append((height * width,))
    for order in orders:
        if len(order) == len(size) and all(own in (None, got) for own, got in zip(size, order, strict=True)):
            return order
    return None
