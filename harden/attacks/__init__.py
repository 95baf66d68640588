"""Attacks maximise a per-example loss over a threat model: `attack(loss, x, threat, draws) -> x_adv`."""

from harden.attacks.apgd import APGD
from harden.attacks.attack import Attack, NearestAttack
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.engine.nonfinite_gradients import GradientMeter, metering
from harden.attacks.fab.fab import FAB
from harden.attacks.mifgsm import MIFGSM
from harden.attacks.pgd import FGSM, PGD
from harden.attacks.random_noise import RandomNoise
from harden.attacks.rays import RayS
from harden.attacks.square import Square
from harden.attacks.targeted import Targeted

__all__ = [
    "APGD",
    "FAB",
    "FGSM",
    "MIFGSM",
    "PGD",
    "Attack",
    "GradientMeter",
    "Nearest",
    "NearestAttack",
    "RandomNoise",
    "RayS",
    "Square",
    "Targeted",
    "metering",
]
