"""The main job in one call: a user's classifier in, a hardened one out, with the account of what it cost."""

from harden.hardening.hardened import Hardened
from harden.hardening.recipe import Recipe, stages
from harden.hardening.run_identity import finished, plan_of
from harden.hardening.run_stages import harden, job_of

__all__ = ["Hardened", "Recipe", "finished", "harden", "job_of", "plan_of", "stages"]
