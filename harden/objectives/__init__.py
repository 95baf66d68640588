"""Objectives: what training minimises. `objective(state, batch, step) -> loss`; none brings its own loop."""

from harden.objectives.adversarial_training import TRADES, AdversarialTraining
from harden.objectives.awp import AWP
from harden.objectives.certified_training import CROWNIBP, IBP, MTLIBP, SABR, WarmUp
from harden.objectives.fast_adversarial.free import FreeAdversarialTraining
from harden.objectives.fast_adversarial.label_information import LIET
from harden.objectives.fast_adversarial.prior_guided import PriorGuidedFGSM
from harden.objectives.fast_adversarial.single_step import FGSM_RS, NFGSM
from harden.objectives.gaussian_augmentation import GaussianAugmentation
from harden.objectives.mart import MART
from harden.objectives.moco import MoCo
from harden.objectives.multi_norm import MultiNorm
from harden.objectives.objective import (
    ChecksFirst,
    KeepsBatch,
    KeepsImages,
    Objective,
    ReplaysBatches,
    Step,
    UpdatesWithStep,
)
from harden.objectives.simclr import SimCLR
from harden.objectives.supervised import LinearProbe, Standard

__all__ = [
    "AWP",
    "CROWNIBP",
    "FGSM_RS",
    "IBP",
    "LIET",
    "MART",
    "MTLIBP",
    "NFGSM",
    "SABR",
    "TRADES",
    "AdversarialTraining",
    "ChecksFirst",
    "FreeAdversarialTraining",
    "GaussianAugmentation",
    "KeepsBatch",
    "KeepsImages",
    "LinearProbe",
    "MoCo",
    "MultiNorm",
    "Objective",
    "PriorGuidedFGSM",
    "ReplaysBatches",
    "SimCLR",
    "Standard",
    "Step",
    "UpdatesWithStep",
    "WarmUp",
]
