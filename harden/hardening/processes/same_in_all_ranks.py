"""Comparison of a run's inputs and code between the processes that train it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from harden.description import JSON
from harden.errors import InputError
from harden.evaluation.proofs.code_digest import code_digest
from harden.models import Classifier
from harden.models.snapshot import as_facts
from harden.system.package_metadata import versions
from harden.system.ranks import Ranks
from harden.training.checkpointing.run_checkpoints import differing


def check_same_run(plan: Mapping[str, JSON], model: Classifier, ranks: Ranks) -> None:
    """Refuse processes that would train different runs, before the first step and before anything is written.

    Compared are the plan (data by content, network by its weights, recipe, threat, seed), the versions of
    harden and torch, and the source of harden and of the network's modules.

    Args:
        plan: of this process.
        model: that it trains.
        ranks: the processes, which all call this.

    Raises:
        InputError: one differs from the first; raised in all of them.
    """
    if not ranks.several:
        return
    versions_here: dict[str, JSON] = dict(versions(("harden", "torch")))
    own = as_facts({**plan, "versions": versions_here, "code": _code_of(model)})
    first, *others = ranks.every(own)
    for rank, other in enumerate(others, 1):
        if names := [name for name, _, _ in differing(first, other)]:
            raise InputError(
                f"process {rank} of {ranks.size}, which differs from the first one in {', '.join(names[:3])}"
                f"{' and more' if len(names) > 3 else ''}",
                "the same data, network, options and code in all processes",
                "give each the same files and the same command",
            )


def _code_of(model: Classifier) -> dict[str, JSON]:
    return {"harden": code_digest(("",)), "network": _network_code(model)}


def _network_code(model: Classifier) -> str:
    """Digest of the files that define the network's modules, without their places."""
    modules = {type(part).__module__ for part in model.network.modules()}
    named = (getattr(sys.modules.get(name), "__file__", None) for name in modules)
    contents = {Path(name).read_bytes() for name in named if name and Path(name).is_file()}
    return sha256(b"".join(sorted(sha256(each).digest() for each in contents))).hexdigest()
