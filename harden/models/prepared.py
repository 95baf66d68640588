"""A private copy of a network that gives the same logits faster: for attacks, which steer by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.models.classifier import Classifier
from harden.models.copies import copied, float32_copy, names_a_type
from harden.models.folding import Pair, find_pairs, fold_
from harden.models.passes import uncounted
from harden.models.surroundings import plain

_log = logging.getLogger("harden")
_TYPES = (torch.float32, torch.bfloat16)
_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.5}
"""By how much of the largest logit the copy may differ; what is no rounding differs by more."""


@final
@dataclass(frozen=True, slots=True)
class FastCopy:
    """The form of the copy that an attack in training steers by: prepared for inference.

    Args:
        bfloat16: compute in bfloat16, faster where `bfloat16_is_native`; in float32 otherwise.
    """

    bfloat16: bool = False

    @property
    def precision(self) -> torch.dtype:
        """What the copy computes in."""
        return torch.bfloat16 if self.bfloat16 else torch.float32


@final
class Prepared:
    """A network in inference mode, frozen, BatchNorms folded, channels last, on request in bfloat16.

    Callable: images (N, C, H, W) in [0, 1] to logits (N, K), float32, with a gradient for the images and none
    for weights. Its logits differ from the network's by rounding, so it steers an attack and decides nothing.

    Attributes:
        precision: what it computes in.
        folded: how many BatchNorms were taken in by the layer before them.
        replays: what an attack has captured of this copy, which keeps it.
    """

    def __init__(
        self, source: Classifier, copy: Classifier, pairs: tuple[Pair, ...], precision: torch.dtype
    ) -> None:
        self._source, self._copy, self._pairs = source, copy, pairs
        self.precision = precision
        self.replays: dict[object, object] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        x = self.lay_out(x)
        if self.precision == torch.float32:
            return self._copy.logits(x)
        with torch.autocast(x.device.type, self.precision):
            return self._copy.logits(x)

    def lay_out(self, x: Tensor) -> Tensor:
        """The images in the memory order in which they cost no copy at each call."""
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    @property
    def folded(self) -> int:
        """How many BatchNorms are folded."""
        return len(self._pairs)

    @torch.no_grad()
    def refresh_(self) -> None:
        """Take over the weights that the network has now: training moves them at every step."""
        folded = {name for pair in self._pairs for name in (pair.layer, pair.norm)}
        for name, part in self._source.named_modules():
            if name not in folded:
                _take_over(self._copy.get_submodule(name), part)
        fold_(self._copy, self._source, self._pairs)

    def describe(self) -> str:
        """Say in one line what was done."""
        kind = str(self.precision).removeprefix("torch.")
        return f"{self.folded} BatchNorms folded, channels last, {kind}"


@plain()
@uncounted()
def prepare(model: Classifier, example: Tensor, precision: torch.dtype = torch.float32) -> Prepared:
    """Make a fast inference copy of a network.

    What can be folded is found by one forward on the example images, and the copy's logits are compared with
    the network's there; where they differ by more than rounding, the copy is used unfolded, and if need be in
    float32. The network is left as it was.

    Args:
        model: the network; its modes don't matter.
        example: images (N, C, H, W) in [0, 1], a few are enough.
        precision: torch.float32, or torch.bfloat16 (see `bfloat16_is_native`).

    Raises:
        InputError: another precision.
    """
    if precision not in _TYPES:
        raise InputError(
            f"precision {precision}", "torch.float32 or torch.bfloat16", "write precision=torch.float32"
        )
    example = example.detach().to(model.device, torch.float32)
    still = _still(float32_copy(model))
    try:
        with torch.no_grad():
            expected = still.logits(example)
    except RuntimeError as error:
        if not names_a_type(error):
            raise
        _log.info("a network whose forward names a type is used in its own: %s", error)
        return Prepared(model, _still(copied(model)), (), torch.float32)
    # A fold is judged in float32, where a wrong one shows; the precision is judged after it.
    pairs = _foldable(still, example)
    if not _agrees(_prepared(model, still, pairs, torch.float32), example, expected):
        _log.info("with its BatchNorms folded a network answers otherwise: they stay")
        pairs = ()
    for kind in (precision, torch.float32):
        found = _prepared(model, still, pairs, kind)
        if _agrees(found, example, expected):
            return found
        _log.warning("a copy in %s answers otherwise than the network, and is not used", kind)
    return Prepared(model, still, (), torch.float32)


def bfloat16_is_native(device: torch.device | str = "cpu") -> bool:
    """Whether a device multiplies bfloat16 in hardware; elsewhere bfloat16 is slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _still(copy: Classifier) -> Classifier:
    """Put a copy in inference mode, without gradients for weights."""
    for part in copy.modules():
        part.training = False
    return copy.requires_grad_(requires_grad=False)


def _foldable(still: Classifier, example: Tensor) -> tuple[Pair, ...]:
    copy = float32_copy(still)
    try:
        return find_pairs(copy, lambda: copy.logits(example.clone().requires_grad_()))
    except (RuntimeError, TypeError, AttributeError) as error:
        _log.info("BatchNorms to be folded can't be looked for: %s", error)
        return ()


def _prepared(
    model: Classifier, still: Classifier, pairs: tuple[Pair, ...], precision: torch.dtype
) -> Prepared:
    copy = float32_copy(still)
    fold_(copy, still, pairs)
    for part in copy.modules():
        _lay_out(part, precision)
    return Prepared(model, copy, pairs, precision)


def _lay_out(part: nn.Module, precision: torch.dtype) -> None:
    """Channels last for every weight that has them; bfloat16 where autocast would cast it at every call."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        part.to(memory_format=torch.channels_last)
    if type(part) in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear):
        part.to(precision)


def _agrees(found: Prepared, example: Tensor, expected: Tensor) -> bool:
    with torch.no_grad():
        try:
            answer = found(example)
        except RuntimeError as error:  # a forward of the user's that can't do with another type or layout
            _log.info("a prepared copy fails: %s", error)
            return False
    apart, largest = (answer - expected).abs(), expected.abs().amax()
    return bool((apart <= _ROUNDING[found.precision] * largest + 1e-6).all())


def _take_over(target: nn.Module, source: nn.Module) -> None:
    for name, weight in source.named_parameters(recurse=False):
        getattr(target, name).copy_(weight)
    for name, buffer in source.named_buffers(recurse=False):
        getattr(target, name).copy_(buffer)
