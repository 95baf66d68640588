"""Attacks maximise a per-example loss over a threat model: `attack(loss, x, threat, draws) -> x_adv`."""

from harden.attacks.apgd import APGD
from harden.attacks.momentum import MIFGSM
from harden.attacks.nearest import Nearest
from harden.attacks.pgd import FGSM, PGD
from harden.attacks.protocol import Attack
from harden.attacks.rays import RayS
from harden.attacks.square import Square

__all__ = ["APGD", "FGSM", "MIFGSM", "PGD", "Attack", "Nearest", "RayS", "Square"]
