"""The Square attack: random search without gradients (Andriushchenko et al., 1912.00049)."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, final

import torch
from torch import Tensor

from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws, check_pictures
from harden.attacks.engine.best_point_search import BestPointSearch
from harden.attacks.square_windows import bumps, signs, tiles, window
from harden.draws import Draws
from harden.errors import InputError
from harden.kernels import copy_rows_
from harden.losses import LossFunction
from harden.threats import L1, L2, ChannelLinf, Linf, Threat

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries, those after which the share of an image's pixels that a square covers halves."""

TINY = 1e-12


@final
@dataclass(frozen=True, slots=True)
class Square:
    """x_{t+1} = x_t + d_t where L(x_t + d_t) > L(x_t), else x_t; d_t changes one square of pixels.

    A square has h_t = sqrt(p_t H W) pixels a side, in all channels, at a random place; p_t begins at `p` and
    halves nine times on the way. It needs no gradient and calls the loss, nothing else: so it attacks a file
    in onnxruntime, a quantised network or any function (`harden.models.from_numpy`).

    - L-inf: begins at vertical stripes of +-eps; each channel of a square goes to x + eps or x - eps.
    - L2: begins at a grid of bumps; the change within a second random square is given up, and what it was
      worth, with what the box left unused of eps, goes into the first: a bump added to what is there.
    - L1: as L2 with steeper bumps and lengths in L1, projected onto ball and box (2103.01208).

    Guarantee: the result lies in ball and box. It is, per example, the best of all points visited, the image
    itself included, as with `harden.attacks.PGD`: so more restarts, and with one `horizon` more queries,
    never lose an error, nor a plain loss's height; with patience neither holds. An example's result depends
    on its draws and the loss.

    Args:
        queries: of each restart; one more evaluates the image itself.
        p: share of the image's pixels that the first squares cover, in (0, 1].
        restarts: independent runs; the best is kept, per example.
        stop_early: end work on an example at its first error, as in `harden.attacks.PGD`.
        horizon: over how many queries p falls; `queries` by default.
        patience: after how many queries of a run an image is left alone that has not come so far on the way
            from its clean loss to 0, a share, for a loss that is negative up to an error, as the margin is;
            (queries, share) pairs by rising queries, none by default.

    Raises:
        InputError: queries, restarts or horizon below 1, p outside (0, 1], or patience that is no such list.
    """

    queries: int = 5000
    p: float = 0.8
    restarts: int = 1
    stop_early: bool = False
    horizon: int | None = None
    patience: tuple[tuple[int, float], ...] = ()
    gradient_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_counts(self.queries, self.restarts, "write Square(queries=5000, restarts=1)", "queries")
        if not 0 < self.p <= 1:
            raise InputError(f"p {self.p}", "a share of the image's pixels in (0, 1]", "write Square(p=0.8)")
        if self.horizon is not None and self.horizon < 1:
            raise InputError(f"a horizon of {self.horizon} queries", "at least one", "leave it out")
        places = [0, *(place for place, _ in self.patience)]
        if any(a >= b for a, b in pairwise(places)) or any(not 0 <= share <= 1 for _, share in self.patience):
            raise InputError(
                f"patience {self.patience}",
                "queries that rise from 1 on, and shares in [0, 1]",
                "write Square(patience=((500, 0.5), (1000, 0.8)))",
            )

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient.

        Raises:
            InputError: x is no batch of images, its number is not that of the draws, or the threat's norm is
                none of the three.
        """
        check_draws(draws, x)
        check_pictures(x)
        if not isinstance(threat, Linf | ChannelLinf | L2 | L1):
            raise InputError(f"the threat {threat!r}", "Linf, L2 or L1", "use harden.attacks.PGD with it")
        if x.numel() == 0:
            return x.detach().clone()
        with searching(x) as clean:
            clean = clean.contiguous()
            search = BestPointSearch(loss, clean, stop_early=self.stop_early, gradient=False)
            everything = search.remaining()
            search.run(everything, clean.clone(), _Squares.begin(self, threat, clean, draws), 0)
            at_first = search.best(everything).value
            for restart in range(self.restarts):
                self._run(search, clean, at_first, threat, draws.fold(restart))
            return search.found()

    def _run(
        self,
        search: BestPointSearch,
        x: Tensor,
        at_first: Tensor,
        threat: Linf | ChannelLinf | L2 | L1,
        draws: Draws,
    ) -> None:
        """One run, in parts where hopeless images are left alone between them."""
        rows, done = search.remaining(), 0
        for place, least in (*self.patience, (self.queries, 0.0)):
            ends = min(place, self.queries)
            if len(rows) == 0 or ends <= done:
                break
            rule = _Squares.begin(self, threat, x[rows], draws.take(rows))
            if done == 0:
                search.run(rows, rule.start(x[rows]), rule, ends - 1)
            else:
                best = search.best(rows)
                rule.go_on_(best.x, best.value, done)
                search.run(rows, best.x.clone(), rule, ends - done)
            done = ends
            rows = search.remaining(rows)
            first = at_first[rows]
            # Of a loss that is positive before an error nothing is known.
            hopeless = (first < 0) & (search.best(rows).value < (1 - least) * first)
            rows = rows[~hopeless] if least else rows

    def side(self, query: int, shape: torch.Size) -> int:
        """How many pixels a side the square before query number `query`, from 1, has on (N, C, H, W)."""
        height, width = shape[2:]
        of_10_000 = (query - 1) * 10_000 // (self.horizon or self.queries)
        share = self.p / 2 ** bisect_left(HALVED_AFTER, of_10_000)
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)


@final
@dataclass(slots=True, eq=False)
class _Squares:
    """The proposals of one run.

    Attributes:
        attack: its settings.
        threat: owns ball and box.
        draws: of the examples, for this restart.
        best: the point of largest loss (N, C, H, W).
        height: the loss there (N,).
        low: the lowest pixels that L-inf allows (N, C, H, W); empty images in the other norms.
        high: the highest.
        number: queries so far.
    """

    attack: Square
    threat: Linf | ChannelLinf | L2 | L1
    draws: Draws
    best: Tensor
    height: Tensor
    low: Tensor
    high: Tensor
    number: int = 0

    @classmethod
    def begin(cls, attack: Square, threat: Linf | ChannelLinf | L2 | L1, x: Tensor, draws: Draws) -> _Squares:
        """The proposals of a run around the images x."""
        low, high = x[..., :0], x[..., :0]
        if isinstance(threat, Linf | ChannelLinf):
            eps = float(threat.eps)
            low, high = x - eps, x + eps  # further than a channel may go; the projection cuts it
            threat.project_(low, x)
            threat.project_(high, x)
        return cls(attack, threat, draws, x.clone(), x.new_full((len(x),), -torch.inf), low, high)

    def go_on_(self, best: Tensor, height: Tensor, number: int) -> None:
        """Go on from the best point of a run after so many queries."""
        self.best, self.height, self.number = best.clone(), height.clone(), number - 1

    def start(self, x: Tensor) -> Tensor:
        """The first point: stripes in L-inf, bumps of a fifth of the image's side elsewhere."""
        _, channels, height, width = x.shape
        if isinstance(self.threat, Linf | ChannelLinf):
            upwards = self._uniform(channels * width).view(-1, channels, 1, width) >= 0.5
            return torch.where(upwards, self.high, self.low)
        side = max(min(height, width) // 5, 1)
        drawn = self._uniform((1 + channels) * (height // side) * (width // side))
        delta = tiles(drawn, side, self._order, x.shape)
        x_adv = x.clone()
        self._spend_(x_adv, x, delta)
        return x_adv

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Replace x_adv by the next proposal: the best point with one square changed."""
        del gradient
        higher = value > self.height
        copy_rows_(self.best, x_adv, higher)
        torch.where(higher, value, self.height, out=self.height)
        self.number += 1
        if isinstance(self.threat, Linf | ChannelLinf):
            self._paint_(x_adv)
        else:
            self._transfer_(x_adv, x)

    def take(self, index: Tensor) -> _Squares:
        """The proposals for the examples at index, int64 (M,)."""
        best, height, low, high = (part[index] for part in (self.best, self.height, self.low, self.high))
        draws = self.draws.take(index)
        return _Squares(self.attack, self.threat, draws, best, height, low, high, self.number)

    @property
    def _order(self) -> int:
        return 1 if isinstance(self.threat, L1) else 2

    def _uniform(self, count: int) -> Tensor:
        return self.draws.fold(self.number).uniform((count,)).to(self.best.device)

    def _paint_(self, x_adv: Tensor) -> None:
        """L-inf: each channel of a square to the edge of the ball, up or down."""
        channels = x_adv.shape[1]
        drawn = self._uniform(2 + channels)
        place = window(drawn[:, :2], self.attack.side(self.number, x_adv.shape), x_adv.shape)
        upwards = (drawn[:, 2:] >= 0.5).view(-1, channels, 1, 1)
        x_adv.copy_(self.best)
        # Membership in L-inf is a matter of each pixel, so points of the ball can be mixed pixel by pixel.
        edge = torch.where(upwards, self.high.view(-1)[place], self.low.view(-1)[place])
        x_adv.view(-1)[place] = edge

    def _transfer_(self, x_adv: Tensor, x: Tensor) -> None:
        """L2 and L1: what a second square is worth goes into a bump in the first."""
        channels, order, eps = x.shape[1], self._order, float(self.threat.eps)
        side = max(self.attack.side(self.number, x.shape), 3) | 1  # odd, at least 3: with a middle
        side = min(side, *x.shape[2:])
        drawn = self._uniform(5 + channels)
        first, second = window(drawn[:, :2], side, x.shape), window(drawn[:, 2:4], side, x.shape)
        delta = self.best - x
        whole = torch.linalg.vector_norm(delta, ord=order, dim=(1, 2, 3), keepdim=True)
        flat = delta.view(-1)
        old = flat[first]
        flat[first] = 0.0  # where the squares overlap, nothing is counted twice
        length, given_up = _length(old, order), _length(flat[second], order)
        flat[second] = 0.0
        unused = (eps**order - whole**order).clamp_min(0.0) / channels
        # In float64: float32 roots of torch differ in the last place between processors.
        budget = ((unused + length**order + given_up**order).double() ** (1.0 / order)).float()
        bump = bumps(side, order, x.device)[(drawn[:, 4] >= 0.5).long()].unsqueeze(1)
        new = signs(drawn[:, 5:]).view(-1, channels, 1, 1) * bump + old / length.clamp_min(TINY)
        # In L1 more than the budget, by the number of channels: the projection keeps the largest entries.
        scale = budget * (channels if order == 1 else 1) / _length(new, order).clamp_min(TINY)
        flat[first] = new * scale
        x_adv.copy_(x)
        self._spend_(x_adv, x, delta)

    def _spend_(self, x_adv: Tensor, x: Tensor, delta: Tensor) -> None:
        """x_adv <- x + delta, in L2 scaled to length eps, in ball and box; x_adv holds x."""
        if isinstance(self.threat, L2):
            eps = torch.full((1,), float(self.threat.eps), dtype=torch.float32, device=x.device)
            self.threat.step_(x_adv, x, delta, eps)
        else:
            x_adv.add_(delta)
            self.threat.project_(x_adv, x)


def _length(part: Tensor, order: int) -> Tensor:
    """The norm of each channel: (N, C, S, S) -> (N, C, 1, 1)."""
    length: Tensor = torch.linalg.vector_norm(part, ord=order, dim=(2, 3), keepdim=True)
    return length
