"""Fast copy of a network for the gradients of attacks: frozen, BatchNorm folded, channels last."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import product
from typing import final

import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.models.classifier import Classifier
from harden.models.fold_batchnorm import FoldablePair, find_pairs, fold_
from harden.models.out_of_memory import ran_out_of_memory
from harden.models.pass_count import uncounted
from harden.models.preserving.copies import copied, float32_copy, names_a_type
from harden.models.preserving.torch_defaults import plain

_log = logging.getLogger("harden")
_TYPES = (torch.float32, torch.bfloat16)
_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.5}
"""Largest difference of the copy's logits, as a share of the largest logit, that rounding explains."""
_LAYOUTS = (torch.channels_last, torch.contiguous_format)


@final
@dataclass(frozen=True, slots=True)
class FastCopy:
    """Options of the copy that an attack in training takes its gradients from.

    Args:
        bfloat16: compute in bfloat16, faster where `bfloat16_is_native`; in float32 otherwise.
    """

    bfloat16: bool = False

    @property
    def precision(self) -> torch.dtype:
        """The type in which the copy computes."""
        return torch.bfloat16 if self.bfloat16 else torch.float32


@final
@dataclass(frozen=True, slots=True)
class FastCopyForm:
    """Form of a fast copy: folded layers, precision and memory layout.

    Args:
        pairs: the BatchNorms that are folded into the layer before them.
        precision: the type in which it computes.
        layout: the memory order of images and of convolutions' weights; channels last where the network
            accepts it, else contiguous, as a forward with `x.view(len(x), -1)` behind a convolution needs.
    """

    pairs: tuple[FoldablePair, ...] = ()
    precision: torch.dtype = torch.float32
    layout: torch.memory_format = torch.contiguous_format


@final
class PreparedNetwork:
    """A network in inference mode, frozen, BatchNorms folded, channels last, on request in bfloat16.

    Callable: images (N, C, H, W) in [0, 1] to logits (N, K), float32, with a gradient for the images and none
    for weights. Its logits differ from the network's by rounding, so attacks take gradients from it, and the
    judge decides.

    Attributes:
        form: folded layers, precision and layout.
        replays: CUDA graphs that attacks have captured of this copy.
    """

    def __init__(self, source: Classifier, copy: Classifier, form: FastCopyForm) -> None:
        self._source, self._copy = source, copy
        self.form = form
        self.replays: dict[object, object] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        x = self.lay_out(x)
        if self.precision == torch.float32:
            return self._copy.logits(x)
        with torch.autocast(x.device.type, self.precision):
            return self._copy.logits(x)

    def lay_out(self, x: Tensor) -> Tensor:
        """The images in the copy's memory order, so that no call copies them."""
        return x.contiguous(memory_format=self.form.layout) if x.dim() == 4 else x

    @property
    def precision(self) -> torch.dtype:
        """The type in which it computes."""
        return self.form.precision

    @property
    def folded(self) -> int:
        """Number of folded BatchNorms."""
        return len(self.form.pairs)

    @torch.no_grad()
    def refresh_(self) -> None:
        """Copy the network's present weights, which training changes at every step."""
        folded = {name for pair in self.form.pairs for name in (pair.layer, pair.norm)}
        for name, part in self._source.named_modules():
            if name not in folded:
                _copy_state(self._copy.get_submodule(name), part)
        fold_(self._copy, self._source, self.form.pairs)

    def describe(self) -> str:
        """Describe the copy in one line."""
        kind = str(self.precision).removeprefix("torch.")
        order = "channels last" if self.form.layout == torch.channels_last else "contiguous"
        return f"{self.folded} BatchNorms folded, {order}, {kind}"


@plain()
@uncounted()
def prepare(model: Classifier, example: Tensor, precision: torch.dtype = torch.float32) -> PreparedNetwork:
    """Make a fast inference copy of a network.

    Foldable layers are found by one forward on the example images, and the copy's logits are compared with
    the network's there; where they differ by more than rounding, the copy is used unfolded, and if necessary
    in float32. A network that can't compute on channels last, forward or backward, gets contiguous images and
    keeps contiguous weights. The network is not changed.

    Args:
        model: the network, in any mode.
        example: images (N, C, H, W) in [0, 1], a few are enough.
        precision: torch.float32, or torch.bfloat16 (see `bfloat16_is_native`).

    Raises:
        InputError: the precision is another one.
    """
    if precision not in _TYPES:
        raise InputError(
            f"precision {precision}", "torch.float32 or torch.bfloat16", "write precision=torch.float32"
        )
    example = example.detach().to(model.device, torch.float32).contiguous()
    still = _still(float32_copy(model))
    try:
        with torch.no_grad():
            expected = still.logits(example)
    except RuntimeError as error:
        if not names_a_type(error):
            raise
        _log.info("a network whose forward names a type is copied in its own type: %s", error)
        still, precision = _still(copied(model)), torch.float32
        with torch.no_grad():
            expected = still.logits(example)
    # A fold is tested in float32, where an error is visible, before the precision is.
    for layout, pairs in product(_LAYOUTS, dict.fromkeys((_foldable(still, example), ()))):
        found = _prepared(model, still, FastCopyForm(pairs, torch.float32, layout))
        if _agrees(found, example, expected):
            break
        _log.info("the logits of a copy differ from the network's, and it is not used: %s", found.describe())
    else:
        return PreparedNetwork(model, still, FastCopyForm())
    if precision != torch.float32:
        rounded = _prepared(model, still, replace(found.form, precision=precision))
        if _agrees(rounded, example, expected):
            return rounded
        _log.warning("the logits of a copy in %s differ from the network's, and it is not used", precision)
    return found


def bfloat16_is_native(device: torch.device | str = "cpu") -> bool:
    """Return whether a device multiplies bfloat16 in hardware; elsewhere bfloat16 is slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _still(copy: Classifier) -> Classifier:
    """Put a copy in inference mode, without gradients for weights."""
    for part in copy.modules():
        part.training = False
    return copy.requires_grad_(requires_grad=False)


def _foldable(still: Classifier, example: Tensor) -> tuple[FoldablePair, ...]:
    copy = copied(still)
    try:
        return find_pairs(copy, lambda: copy.logits(example.clone().requires_grad_()))
    except (RuntimeError, TypeError, AttributeError) as error:
        _log.info("no BatchNorm is folded, the search for them fails: %s", error)
        return ()


def _prepared(model: Classifier, still: Classifier, form: FastCopyForm) -> PreparedNetwork:
    copy = copied(still)
    fold_(copy, still, form.pairs)
    for part in copy.modules():
        _lay_out(part, form)
    return PreparedNetwork(model, copy, form)


def _lay_out(part: nn.Module, form: FastCopyForm) -> None:
    """Set the memory order of convolutions' weights, and bfloat16 where autocast would cast at every call."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        part.to(memory_format=form.layout)
    if type(part) in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear) and form.precision != torch.float32:
        part.to(form.precision)


def _agrees(found: PreparedNetwork, example: Tensor, expected: Tensor) -> bool:
    """Return whether a copy gives the expected logits, and a gradient where there is one."""
    point = found.lay_out(example.clone()).requires_grad_()
    try:
        with torch.enable_grad():
            answer = found(point)
        if answer.requires_grad:  # a user's own backward may require another layout, too
            torch.autograd.grad(answer.sum(), point, allow_unused=True)
    except Exception as error:  # a user's forward may raise anything under another type or layout
        if ran_out_of_memory(error):
            raise
        _log.info("a prepared copy fails: %s", error)
        return False
    apart, largest = (answer.detach() - expected).abs(), expected.abs().amax()
    return bool((apart <= _ROUNDING[found.precision] * largest + 1e-6).all())


def _copy_state(target: nn.Module, source: nn.Module) -> None:
    for name, weight in source.named_parameters(recurse=False):
        getattr(target, name).copy_(weight)
    for name, buffer in source.named_buffers(recurse=False):
        getattr(target, name).copy_(buffer)
    mine = vars(target)
    for name, held in vars(source).items():  # unregistered state, such as a running mean
        if isinstance(held, Tensor) and isinstance(twin := mine.get(name), Tensor):
            if twin.shape == held.shape and not twin.requires_grad:
                twin.copy_(held)  # in place, since a captured graph reads this memory
            elif twin.shape != held.shape:
                mine[name] = held.detach().clone()
