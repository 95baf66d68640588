"""RayS: a search by labels alone for the direction in which the boundary is nearest (2006.12792)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.rays_search import RaysSearch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class RayS:
    """min over s in {-1, 1}^d of the radius r(s) at which the network errs on x + r s, cut by the box.

    The search begins at s = (1, ..., 1), turns over one block of s after the other, first the whole, then
    halves, quarters, down to single entries, and keeps a turn that brings the boundary nearer (Chen and Gu,
    2006.12792). One query at the best radius so far decides that; only then a bisection on [0, r] finds the
    new radius. It uses the loss's verdicts (`judged`) and never its value: so masked gradients and scores
    don't hinder it, and a function that returns classes alone is enough (`harden.losses.Labels`). It draws
    nothing at random.

    r is the L-inf distance. In L2 and L1 the same sign directions are searched, at lengths r sqrt(d) and r d
    before the box cuts them; sign vectors are poor directions there, so the attack is weaker, in L1 by much.

    Guarantee: a result of a call lies in ball and box, and is x itself, bit for bit, where no error was found
    in them. An example's result depends on the loss alone. More queries never find `nearest` further away.

    Args:
        queries: for each image; one more for the image itself, and where a fast copy gives the verdicts, one
            for each direction that the network has to confirm.
        tolerance: at what L2 length of the interval a bisection ends, in pixel units; the authors' is 1e-3.
        stop_early: end work on an example at its first error in the ball; otherwise go on to the nearest.

    Raises:
        InputError: queries below 1, or a tolerance that is not positive.
    """

    queries: int = 10_000
    tolerance: float = 1e-3
    stop_early: bool = True
    gradient_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_counts(self.queries, 1, "write RayS(queries=10_000)", "queries")
        if not self.tolerance > 0:
            raise InputError(f"tolerance {self.tolerance}", "a positive length", "write RayS(tolerance=1e-3)")

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient.

        Raises:
            InputError: the loss judges no errors, or there are more or fewer draws than images.
        """
        return self._search(loss, x, threat, draws, within=True).x_adv

    def nearest(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Nearest:
        """Find the nearest error around each image (N, C, H, W), whatever the threat's eps.

        The distance is in the threat's norm; every error lies in the threat's box.

        Raises:
            InputError: the loss judges no errors, or there are more or fewer draws than images.
        """
        return self._search(loss, x, threat, draws, within=False)

    def _search(
        self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws, *, within: bool
    ) -> Nearest:
        check_draws(draws, x)
        adapter = LossAdapter(loss)
        if not adapter.judges:
            raise InputError(
                f"a loss {type(loss).__name__} that does not judge where the network errs",
                "a harden.losses.Loss",
                "use harden.losses.Margin(classify, y), or Labels(predict, y) where there are no scores",
            )
        if x.numel() == 0:
            return Nearest(x.detach().clone(), x.new_zeros(len(x)).double())
        with searching(x) as clean:
            search = RaysSearch(adapter, clean.contiguous(), threat, within=within)
            return search.run(self.queries, self.tolerance, stop_early=within and self.stop_early)
