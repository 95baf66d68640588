"""Hardening: training stages under a budget, with checkpoints, and the inputs and costs of runs."""

from harden.hardening.hardened import Hardened
from harden.hardening.recipes.rate_probe import RateProbe
from harden.hardening.recipes.recipe import Recipe, stages
from harden.hardening.run_identity import finished, plan_of
from harden.hardening.run_stages import harden, job_of

__all__ = ["Hardened", "RateProbe", "Recipe", "finished", "harden", "job_of", "plan_of", "stages"]
