"""Substitutes for torch's operators that can't be exported, for error messages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


def substitute(operator: str) -> str:
    """The substitute to write for one of torch's operators, such as `aten.grid_sampler_3d`."""
    stem = operator.rpartition("::")[2].rpartition(".")[2].strip("_")
    known = next((text for name, text in _KNOWN.items() if stem.startswith(name)), None)
    return known or "write it in sums, products, matmul, convolutions, gather and torch.where"


_RANDOM: Final = "leave randomness out of inference: write it under if self.training"
_MATRIX: Final = (
    "write it by a fixed number of products (Newton's or a power iteration), or train its factors"
)
_KNOWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "convolution": "pass the module itself in place of what torch.jit.trace made of it",
        "rrelu": "write nn.RReLU as a submodule, so that inference reaches it, or nn.LeakyReLU",
        "fractional_max_pool": "write nn.MaxPool2d or nn.AdaptiveMaxPool2d: its windows are random",
        "adaptive_max_pool": "write it without return_indices",
        "max_unpool": "write nn.functional.interpolate, or a transposed convolution",
        "col2im": "write nn.functional.pixel_shuffle, or a transposed convolution",
        "fold": "write nn.functional.pixel_shuffle, or a transposed convolution",
        "grid_sampler_3d": "write nn.functional.interpolate, or grid_sample on images",
        "cummax": "write torch.stack of maxima over slices, or x.amax",
        "cummin": "write torch.stack of minima over slices, or x.amin",
        "cumprod": "write x.log().cumsum(dim).exp() for positive x, or a product in a loop over slices",
        "nanmedian": "write x.median(dim)",
        "median": "write x.median(dim) with a dimension that is not the batch",
        "mode": "write x.argmax of counts, or x.median(dim)",
        "unique": "count fixed values with ==, as in (x == value).sum(dim)",
        "histc": "count with ==, < and sums, as in ((x >= low) & (x < high)).sum(dim)",
        "bincount": "count with nn.functional.one_hot(...).sum(dim)",
        "lgamma": "write a polynomial, or leave it out of inference",
        "digamma": "write a polynomial, or leave it out of inference",
        "erf_inv": "write a polynomial, or leave it out of inference",
        "bessel": "write a polynomial, or leave it out of inference",
        "special": "write a polynomial, or leave it out of inference",
        "hypot": "write (x * x + y * y).sqrt()",
        "linalg": _MATRIX,
        "svd": _MATRIX,
        "qr": _MATRIX,
        "inverse": _MATRIX,
        "cholesky": _MATRIX,
        "lu": _MATRIX,
        "matrix_exp": _MATRIX,
        "ctc": "leave the loss out of the forward in inference",
        "quantize": "pass the network before quantisation",
        "quantized": "pass the network before quantisation",
        "fake_quantize": "pass the network before quantisation",
        "bernoulli": _RANDOM,
        "multinomial": _RANDOM,
        "poisson": _RANDOM,
        "normal": _RANDOM,
        "deform_conv": "write a convolution: ONNX has deformable ones from opset 19 on alone",
        "roi_align": "write nn.functional.interpolate on a fixed crop",
        "nms": "return logits of whole images: detectors are not classifiers",
        "nonzero": "write torch.where, or a product with the mask",
        "masked_select": "write torch.where, or a product with the mask",
    }
)
