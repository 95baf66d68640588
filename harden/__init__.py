"""Harden image classifiers, ship the ONNX file, attach evidence that anyone can check again.

Names load when they are first used: `import harden` alone imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harden.artefact.artefact import Artefact as Artefact
    from harden.artefact.artefact import load as load
    from harden.attacks import PGD as PGD
    from harden.deployed import certify as certify
    from harden.deployed import evaluate as evaluate
    from harden.errors import HardenError as HardenError
    from harden.hardening import Hardened as Hardened
    from harden.hardening import Recipe as Recipe
    from harden.hardening import harden as harden
    from harden.models import Classifier as Classifier
    from harden.objectives import TRADES as TRADES
    from harden.objectives import AdversarialTraining as AdversarialTraining
    from harden.objectives import LinearProbe as LinearProbe
    from harden.objectives import MoCo as MoCo
    from harden.objectives import SimCLR as SimCLR
    from harden.objectives import Standard as Standard
    from harden.threats import L1 as L1
    from harden.threats import L2 as L2
    from harden.threats import Linf as Linf
    from harden.views import Views as Views

_HOMES = {
    "AdversarialTraining": "objectives",
    "Artefact": "artefact.artefact",
    "Classifier": "models",
    "HardenError": "errors",
    "Hardened": "hardening",
    "L1": "threats",
    "L2": "threats",
    "LinearProbe": "objectives",
    "Linf": "threats",
    "MoCo": "objectives",
    "PGD": "attacks",
    "Recipe": "hardening",
    "SimCLR": "objectives",
    "Standard": "objectives",
    "TRADES": "objectives",
    "Views": "views",
    "certify": "deployed",
    "evaluate": "deployed",
    "harden": "hardening",
    "load": "artefact.artefact",
}
_MODULES = (
    "artefact",
    "attacks",
    "bounds",
    "certificate",
    "data",
    "deployed",
    "draws",
    "errors",
    "evaluation",
    "graph",
    "hardening",
    "kernels",
    "losses",
    "models",
    "objectives",
    "regression",
    "statistics",
    "threats",
    "training",
    "verifier",
    "views",
)

__all__ = [
    "L1",
    "L2",
    "PGD",
    "TRADES",
    "AdversarialTraining",
    "Artefact",
    "Classifier",
    "HardenError",
    "Hardened",
    "LinearProbe",
    "Linf",
    "MoCo",
    "Recipe",
    "SimCLR",
    "Standard",
    "Views",
    "certify",
    "evaluate",
    "harden",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(_module(_HOMES[name], name), name)
    if name in _MODULES:
        return _module(name, name)
    if name == "__version__":
        return import_module("harden.system.package_metadata").VERSION
    raise AttributeError(f"module 'harden' has no attribute {name!r}")


def _module(path: str, name: str) -> Any:
    """A module of this package; where one of its requirements is missing, the error says what to install."""
    try:
        return import_module(f"harden.{path}")
    except ImportError as error:
        from harden.system.package_metadata import missing

        said = missing(error, f"harden.{name}")
        if said is None:
            raise
        raise type(error)(said, name=error.name, path=error.path) from error


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
