"""The trial export of a run, which comes before its budget is touched."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harden.artefact.parity.parity_gated_export import first_images
from harden.artefact.parity.trial_export import Exportability, check_exportable
from harden.cli.loading.prepare_run import Ready
from harden.cli.output.console import say
from harden.data import from_loader


def check_export(ready: Ready) -> Exportability:
    """Export the network as it is before training, say how that went, and keep nothing.

    Where the run is to prove, the file is also read as proofs read it.

    Raises:
        HardenError: a run would train it, and then refuse to export it.
    """
    x, y = first_images(from_loader(ready.test, ready.batch_size))
    proofs = ready.options.search is not None
    found = check_exportable(ready.model, x, y, ready.options.threat, proofs=proofs)
    parity, bounded = found.parity, "; every operation has a rule for bounds" if proofs else ""
    say(
        f"export    tried before training, in {found.seconds:.1f} s: logits within {parity.max_error:.1e} "
        f"of the network's, {parity.tolerance:.1e} allowed{bounded}",
    )
    return found


def exportability_as_json(found: Exportability) -> dict[str, Any]:
    """The same as JSON."""
    return asdict(found)
