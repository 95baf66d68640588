"""Attacks maximise a per-example loss over a threat model: `attack(loss, x, threat, draws) -> x_adv`."""

from harden.attacks.apgd import APGD
from harden.attacks.boundary import Nearest
from harden.attacks.fab import FAB
from harden.attacks.momentum import MIFGSM
from harden.attacks.pgd import FGSM, PGD
from harden.attacks.protocol import Attack

__all__ = ["APGD", "FAB", "FGSM", "MIFGSM", "PGD", "Attack", "Nearest"]
