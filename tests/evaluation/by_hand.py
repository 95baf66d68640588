"""An evaluation that is written down, for tests of what is made of one."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.evaluation import AttemptRecord, Evaluation, TrustCheck, Witnesses
from harden.statistics import Proportion
from harden.threats import Linf, Threat

THREAT = Linf("1/8")


def written_down(
    *,
    labels: tuple[int, ...] = (0, 1, 1, 0, 1),
    predictions: tuple[int, ...] = (0, 1, 1, 1, 1),
    broken: tuple[int, ...] = (1,),
    fired: bool = False,
    left: int = 0,
    threat: Threat = THREAT,
) -> Evaluation:
    """Two attempts on images (1, 2, 2) of one grey each; the second attempt broke the images at `broken`.

    By default of five images the fourth is wrong and the second broken: clean 4/5, robust 3/5.
    """
    y, found, index = torch.tensor(labels), torch.tensor(predictions), torch.tensor(broken, dtype=torch.int64)
    n, clean = len(y), int((torch.tensor(labels) == torch.tensor(predictions)).sum())
    hit = torch.zeros(n, dtype=torch.bool)
    hit[index] = True
    attempts = (
        AttemptRecord("first", {"attack": "a"}, clean, 0, Proportion(clean, n), 12.0, 0.25),
        AttemptRecord(
            "second",
            {"attack": "b", "note": "the margin in place of DLR"},
            clean,
            len(broken),
            Proportion(clean - len(broken), n),
            30.0,
            1.5,
        ),
    )
    original = greys(n)[index]
    witnesses = Witnesses(
        index, y[index], 1 - y[index], original, original + 0.125 * (1 - 2 * y[index]).view(-1, 1, 1, 1)
    )
    return Evaluation(
        threat=threat,
        labels=y,
        predictions=found,
        broken=hit,
        attempts=attempts,
        checks=(TrustCheck("zero gradients", 0.75 if fired else 0.0, 0.5, "a share", "mend it"),),
        witnesses=witnesses,
        passes=42.0,
        seconds=2.0,
        broken_by=torch.where(hit, 1, -1),
        broken_at=torch.where(hit, 7, 0),
        left=left,
    )


def greys(n: int) -> Tensor:
    """The images: (n, 1, 2, 2), from 1/4 to 3/4."""
    return torch.linspace(0.25, 0.75, n).view(n, 1, 1, 1).expand(n, 1, 2, 2).clone()
