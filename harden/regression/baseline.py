"""robustness-baseline.json: read strictly, written whole, compared only with what is comparable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from harden.certificate.canonical_json import parse_json
from harden.description import JSON, canonical_names
from harden.errors import BaselineError, HeldError, InputError, RegressionError
from harden.regression.baseline_records import Accepted, Baseline, Check, Outcome, Setting, described
from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import MEASURES, Comparison
from harden.system.atomic_files import read_bytes, refuse_pointer, write_text
from harden.system.folder_lock import locked
from harden.system.size_limits import JSON_BYTES

BASELINE_FILE = "robustness-baseline.json"
_PAUSE = 0.05  # seconds between two tries of a lock

_WORDS = {
    "threat": "threat model",
    "attacks": "attack specification",
    "evidence": "evidence level",
    "seed": "seed",
    "certified": "whether bounds are computed",
    "data.n": "number of images",
    "data.sample": "sample of the test images",
    "data.images": "images or labels",
    "data.order": "order of the images",
    "data.preprocessing": "preprocessing (shape, layout, range, classes)",
}


def read(path: Path, instead: str) -> Baseline:
    """Read a baseline.

    Args:
        path: the file.
        instead: what to do where there is none: the exact command that writes it.

    Raises:
        BaselineError: there is no such file, or it is damaged or of another version.
    """
    try:
        size = path.stat().st_size
        if size > JSON_BYTES.value:
            raise BaselineError(f"{path} of {size:,} bytes", "a baseline", "name another file")
        content = read_bytes(path, JSON_BYTES)
        refuse_pointer(content, path)
    except FileNotFoundError:
        raise BaselineError(f"no {path}", "a baseline that was committed", instead) from None
    except OSError as error:
        raise BaselineError(f"{path}: {error.strerror}", "a file that can be read", instead) from None
    try:
        return Baseline.model_validate(parse_json(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else str(first["msg"])
    except ValueError as error:
        reason = str(error)
    raise BaselineError(
        f"{path} ({' '.join(reason.split())[:200]})",
        "a baseline as harden writes it",
        "restore it from version control, or write it again and commit it",
    ) from None


def rendered(baseline: Baseline) -> str:
    """Write a baseline as text: one value a line, keys sorted, so that a diff shows what changed."""
    return json.dumps(described(baseline), indent=1, sort_keys=True, allow_nan=False) + "\n"


def update(path: Path, check: Check, reason: str | None = None, *, patience: float = 0.0) -> Baseline:
    """Put a check into the file at `path`, which is made where it is missing, and return what is there now.

    Args:
        path: the file.
        check: what was measured.
        reason: why a step down is accepted.
        patience: seconds of patience for another process that writes in the same folder.

    Raises:
        RegressionError: it is worse than the one that is there, or can't be compared with it, and there is
            no reason to accept that; the file is as it was.
        BaselineError: the file is damaged.
        InputError: the folder is missing or held by another process.
    """
    if reason is not None and not reason.strip():
        raise InputError("an empty reason", "why the step down is accepted", "write it in a sentence")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path} in a folder that is missing", "a folder of the repository", "make it first")
    with _locked(folder, patience):
        known = read(path, "").checks if path.exists() else {}
        before = known.get(check.name)
        if before is not None:
            check = _succeeding(before, check, reason)
        baseline = Baseline(checks={**known, check.name: check})
        write_text(path, rendered(baseline))
    return baseline


@contextmanager
def _locked(folder: Path, patience: float) -> Iterator[None]:
    until = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except HeldError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE)
        yield


def compared(before: Check, now: Check, broken: tuple[str, ...] = ()) -> tuple[Comparison, ...]:
    """Pair two results of one check: a comparison for each measure.

    Args:
        before: from the baseline.
        now: of the model that is to be judged.
        broken: what is wrong with the numbers now; it makes robust accuracy fail.

    Raises:
        BaselineError: they are of other data or another specification, with what differs.
    """
    require_same(before.name, before.setting, now.setting)
    remarks = _other_versions(before.versions, now.versions)
    return tuple(
        Comparison(
            check=before.name,
            measure=measure,
            pairs=Pairs.of(before.outcomes[measure].mask, now.outcomes[measure].mask),
            broken=broken if measure == "robust" else (),
            remarks=remarks if measure == "robust" else (),
        )
        for measure in MEASURES
        if measure in before.outcomes
    )


def compared_in_part(before: Check, now: Check, broken: tuple[str, ...] = ()) -> tuple[Comparison, ...]:
    """As `compared`, where time sufficed for the first images alone: the baseline's first are compared.

    Args:
        before: from the baseline.
        now: of the first images of the same data, in their order; of all, it is `compared`.
        broken: as there.

    Raises:
        BaselineError: as there.
    """
    n, left = now.setting.data.n, before.setting.data.n - now.setting.data.n
    if left <= 0:
        return compared(before, now, broken)
    data = before.setting.data.model_copy(update={"n": n})
    first = before.model_copy(
        update={
            "setting": before.setting.model_copy(update={"data": data}),
            "outcomes": {name: Outcome.of(one.mask[:n]) for name, one in before.outcomes.items()},
        }
    )
    return tuple(replace(one, left=left) for one in compared(first, now, broken))


def require_same(name: str, before: Setting, now: Setting) -> None:
    """Refuse to compare what is not comparable.

    Raises:
        BaselineError: with what differs.
    """
    differing = differences(before, now)
    if before.evidence != now.evidence:
        there = "by black-box attacks alone" if before.evidence == "C" else "by white-box attacks"
        option = "with" if before.evidence == "C" else "without"
        raise BaselineError(
            f"{name}: {', '.join(differing)} other than in the baseline",
            f"attacks of the baseline's evidence level {before.evidence}, {there}",
            f"check {option} --black-box (in a test, black_box=True), or make a new baseline with "
            "`harden baseline update` and commit it",
        )
    if differing:
        raise BaselineError(
            f"{name}: {', '.join(differing)} other than in the baseline",
            "the images, attacks and seed that the baseline was made with",
            "pass the same data, or make a new baseline with `harden baseline update` and commit it",
        )


def differences(before: Setting, now: Setting) -> tuple[str, ...]:
    """Name what differs between two settings, in words; nothing where they are equal."""
    one, other = _flat(before), _flat(now)
    found = [key for key in _WORDS if one[key] != other[key]]
    if "data.images" in found and "data.order" in found:
        found.remove("data.order")  # other images are in another order by themselves
    return tuple(_WORDS[key] + _values(one[key], other[key]) for key in found)


def _flat(setting: Setting) -> dict[str, JSON]:
    fields = described(setting)
    data = fields.pop("data")
    if not isinstance(data, dict):
        raise TypeError("data is a record")
    named = {**fields, "attacks": canonical_names(fields["attacks"])}
    return {**named, **{f"data.{key}": value for key, value in data.items()}}


def _values(one: JSON, other: JSON) -> str:
    if isinstance(one, dict) or isinstance(other, dict):
        return ""
    short = [str(value)[:12] for value in (one, other)]
    return f" ({short[0]} there, {short[1]} here)"


def _other_versions(before: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    other = [
        f"{name} {before.get(name, 'none')} there, {now.get(name, 'none')} here"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return (f"other versions than in the baseline: {'; '.join(other)}",) if other else ()


def _succeeding(before: Check, check: Check, reason: str | None) -> Check:
    """The check with the history of the one before it, and with the reason where it is a step down."""
    differing = differences(before.setting, check.setting)
    if differing:
        worse = f"it can't be compared with what is there: {', '.join(differing)}"
    else:
        fewer = [
            f"{name} accuracy {outcome.accuracy.count} of {outcome.accuracy.n} after "
            f"{before.outcomes[name].accuracy.count}"
            for name, outcome in check.outcomes.items()
            if outcome.accuracy.count < before.outcomes[name].accuracy.count
        ]
        worse = ", ".join(fewer)
    if not worse:
        return check.model_copy(update={"accepted": before.accepted})
    if reason is None:
        raise RegressionError(
            f"{check.name}: {worse}",
            "no step down without a reason",
            'write --accept-regression "why", which the baseline keeps, or mend the model',
        )
    step = Accepted(
        reason=reason.strip(),
        before={name: outcome.accuracy for name, outcome in before.outcomes.items()},
        after={name: outcome.accuracy for name, outcome in check.outcomes.items()},
    )
    return check.model_copy(update={"accepted": (*before.accepted, step)})
