"""The fast adaptive boundary attack: the smallest change that makes a network err (1907.02044)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.fab.boundary_walk import BoundaryWalk, WalkSettings
from harden.attacks.fab.hyperplane_projection import NORMS, check_norm
from harden.attacks.fab.walk_state import WalkState
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class FAB:
    """x_{i+1} = box((1 - a) (x_i + eta d_i) + a (x + eta d)), towards the boundary L = 0 nearest to x.

    d_i and d are the shortest ways, in the threat's norm and inside the box, from x_i and from the image x to
    the hyperplane L(x_i) + <g, z - x_i> = 0 with g = grad L(x_i), and a = min(|d_i| / (|d_i| + |d|),
    alpha_max). Where the network errs on x_{i+1}, the point is remembered if it is the nearest so far, and
    the run goes on from x + beta (x_{i+1} - x). In the end the segment from x to the nearest point is halved
    to where the network begins to err. The first run begins at x, each further one at a random point at the
    distance min(eps, nearest so far) / 2.

    It works on any loss whose sign says where the network errs: `harden.losses.Margin` for an error of any
    kind, a targeted margin z_t - z_y for FAB-T. The scale of a loss does not matter. Where the paper
    linearises the margin to every class and goes to the nearest plane, for as many gradients as there are
    classes, this takes the class that leads. The paper ends with three cuts by interpolation.

    A step costs a gradient and a forward, 4/3 passes. With a fast copy both are the copy's, and the network
    itself confirms each error that counts: in `nearest` one that is nearer than those before, as an attack
    one in the ball.

    Guarantee: the result lies in the box, called as an attack also in the ball, as rational numbers; the
    network errs there; more restarts never find a greater distance nor lose a witness (with a loss that
    answers alike in any batch, and without patience).

    Source: Croce and Hein, 1907.02044.

    Args:
        steps: of each run.
        restarts: independent runs; the nearest is kept, per example.
        alpha_max: how far a step is drawn to the image at most, a share.
        eta: how far a step goes beyond the plane, a factor.
        beta: what is left of a change on which the network errs, before the next step; a share.
        stop_early: as an attack on a `harden.losses.Loss`, end work on an example at its first error in the
            ball; otherwise go on to the nearest.
        patience: as an attack that stops early: the steps of a run after which work ends on an example whose
            nearest error is further away than so many times eps; (step, factor) pairs, none by default.

    Raises:
        InputError: steps or restarts below 1, a factor of patience below 1, alpha_max outside [0, 1], eta
            below 1 or not finite, beta outside (0, 1].
    """

    steps: int = 100
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    stop_early: bool = True
    patience: tuple[tuple[int, float], ...] = ()
    norms: ClassVar[tuple[str, ...]] = NORMS

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts, "write FAB(steps=100, restarts=1)")
        if not 0 <= self.alpha_max <= 1:
            raise InputError(f"alpha_max {self.alpha_max}", "a share in [0, 1]", "write FAB(alpha_max=0.1)")
        if not 1 <= self.eta < float("inf"):
            raise InputError(f"eta {self.eta}", "a factor of 1 or more", "write FAB(eta=1.05)")
        if any(step < 1 or not factor >= 1 for step, factor in self.patience):
            raise InputError(
                f"patience {self.patience}",
                "steps and factors of 1 or more",
                "write FAB(patience=((30, 1.5),))",
            )
        if not 0 < self.beta <= 1:
            raise InputError(f"beta {self.beta}", "a share in (0, 1]", "write FAB(beta=0.9)")

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient.

        x_adv is a point of ball and box on which the network errs, and x itself where none was found.

        Raises:
            InputError: the threat's norm is not linf, l2 or l1; the loss is positive where the network does
                not err; the draws are of another number of examples.
        """
        _check(threat, draws, x)
        if len(x) == 0:
            return x.detach().clone()
        with searching(x) as clean:
            state = WalkState(loss, clean, threat, stop_early=self.stop_early)
            self._run(state, threat, draws)
            return state.inside.x_adv

    def nearest(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Nearest:
        """Find the point nearest to each image x (N, C, H, W), float32, on which the network errs.

        The threat gives norm and box; its eps bounds nothing but the random starts. `stop_early` has no
        effect.

        Raises:
            InputError: as when called.
        """
        _check(threat, draws, x)
        if len(x) == 0:
            return Nearest.none(x.detach())
        with searching(x) as clean:
            state = WalkState(loss, clean, threat, stop_early=False)
            self._run(state, threat, draws)
            return state.nearest

    def _run(self, state: WalkState, threat: Threat, draws: Draws) -> None:
        settings, patience = WalkSettings(self.alpha_max, self.eta, self.beta), dict(self.patience)
        for restart in range(self.restarts):
            rows = state.remaining()
            if len(rows) == 0:
                return
            walk = state.walk(rows)
            if restart:
                radius = state.nearest.distance[rows].clamp_max(float(threat.eps)) / 2
                walk.start_(_direction(threat, walk, draws.fold(restart).take(rows)), radius)
            for step in range(1, self.steps + 1):
                walk.step_(settings)
                state.give_up(walk, patience.get(step))
                walk = state.compacted(walk, step)
                if len(walk.rows) == 0:
                    state.ended(step)
                    break
            else:
                walk.refine_(settings)
                state.end(walk, self.steps)


def _check(threat: Threat, draws: Draws, x: Tensor) -> None:
    check_norm(threat.name)
    check_draws(draws, x)


def _direction(threat: Threat, walk: BoundaryWalk, draws: Draws) -> Tensor:
    """Random directions: uniform in the cube in L-inf, else normal; their lengths do not matter."""
    shape = tuple(walk.x.shape[1:])
    drawn = draws.uniform(shape).mul_(2.0).sub_(1.0) if threat.name == "linf" else draws.normal(shape)
    return drawn.to(walk.x.device)
