"""The hook of pre-commit: committed artefacts are re-checked when one of their files is to be committed.

It verifies what `harden verify` does, so it loads no torch either.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harden.cli.commands.verify_page import check_page
from harden.standard_streams import say
from harden.verifier.verify_command import main as verify

_CERTIFICATE = "certificate.json"
_WORST_FIRST = (70, 1, 2, 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Verify the artefacts that files belong to.

    Args:
        argv: the files; those without a certificate.json in their folder belong to no artefact.

    Returns:
        The worst of what `harden verify` returns: 70 before 1, 1 before 2, 2 before 0.
    """
    files = [Path(word) for word in (sys.argv[1:] if argv is None else argv)]
    folders = sorted({file.parent for file in files if file.with_name(_CERTIFICATE).exists()})
    codes = {0}
    for folder in folders:
        say(f"{folder}:")
        # As a path, so that a folder whose name begins with a dash is no option.
        codes.add(verify([str(folder.absolute())], check_page))
    return next((code for code in _WORST_FIRST if code in codes), max(codes))


if __name__ == "__main__":
    sys.exit(main())
