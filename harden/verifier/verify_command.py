"""The command `harden verify DIR [--json FILE]`, with a line per check and an exit code."""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harden.errors import HardenError
from harden.standard_streams import complain, say
from harden.system.atomic_files import write_named
from harden.verifier.findings import PAGE, CheckFinding, Verification
from harden.verifier.verification import verify

_FAULT = 70


PageCheck = Callable[[Path], CheckFinding | str]
"""Compares the page of a folder with its certificate: a finding, or the reason why it was not checked."""


def _page_unchecked(folder: Path) -> str:
    return "only `harden verify`, with jinja2 and pydantic, draws it again"


def main(argv: Sequence[str], check_page: PageCheck = _page_unchecked) -> int:
    """Verifies an artefact and prints the findings.

    Args:
        argv: the words after `harden verify`: the folder and options.
        check_page: compares report.html with the certificate, where there is such a file and every claim
            holds.

    Returns:
        0 every claim holds; 1 a claim is broken, the last line names the file; 2 no such folder, no
        certificate in it, or wrong usage; 70 a fault of the verifier itself.
    """
    usage = io.StringIO()
    try:
        with redirect_stderr(usage):  # argparse repeats words as they are
            options = _parser().parse_args(list(argv))
    except SystemExit as stop:  # argparse exits: 0 after --help, 2 on wrong usage
        for line in usage.getvalue().splitlines():
            complain(line)
        return stop.code if isinstance(stop.code, int) else 2
    try:
        verification, unchecked = _with_page(verify(options.folder), Path(options.folder), check_page)
        code = 0 if verification.ok else 1
        answer = {**verification.to_json(), "page_not_checked": unchecked, "exit_code": code}
        with suppress(
            BrokenPipeError
        ):  # the reader of the lines has closed the pipe: code and file are the answer
            _print(verification, unchecked)
    except HardenError as error:
        code = error.exit_code
        answer = {"ok": False, "error": str(error), "exit_code": code}
        complain(f"harden verify: {error}")
    except Exception as error:  # a fault of ours is never 0, 1 or 2
        code = _FAULT
        answer = {"ok": False, "error": f"{type(error).__name__}: {error}", "exit_code": code}
        complain(f"harden verify: our own fault: {type(error).__name__}: {error}")
    # Written whatever the answer is: a file of an earlier run would say that all holds.
    written = _write(options.json, answer)
    return code or written


def _with_page(
    verification: Verification, folder: Path, check_page: PageCheck
) -> tuple[Verification, str | None]:
    """The verification with a finding on the page, and the reason if a page was not checked."""
    if not verification.ok or not os.path.lexists(folder / PAGE):
        return verification, None
    found = check_page(folder)
    if isinstance(found, str):
        return verification, found
    return replace(verification, checks=(*verification.checks, found)), None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harden verify",
        description="Re-check the claims about a hardened ONNX file from the files alone.",
        epilog="exit codes: 0 every claim holds, 1 a claim is broken, 2 usage or input, 70 our own fault",
    )
    parser.add_argument("folder", help="the folder with certificate.json, model.onnx and evidence.npz")
    parser.add_argument("--json", metavar="FILE", help="also write the checks to FILE as JSON")
    return parser


def _print(verification: Verification, unchecked: str | None) -> None:
    for check in verification.checks:
        say(f"{'holds ' if check.passed else 'BROKEN'}  {check.file:<16}  {check.name:<11}  {check.detail}")
    if unchecked is not None:
        say(f"{'':<6}  {PAGE:<16}  {'page':<11}  not checked: {unchecked}")
    if verification.ok:
        say(f"verified: {verification.headline}")
    else:
        files = dict.fromkeys(check.file for check in verification.checks if not check.passed)
        say(f"broken: {', '.join(files)}")


def _write(target: str | None, answer: dict[str, Any]) -> int:
    if target is None:
        return 0
    try:
        write_named(Path(target), json.dumps(answer, indent=2) + "\n")
    except (OSError, HardenError) as error:
        reason = (
            error.seen if isinstance(error, HardenError) else f"{target} cannot be written ({error.strerror})"
        )
        complain(f"harden verify: {reason}; expected a writable place; pass another --json FILE")
        return 2
    return 0
