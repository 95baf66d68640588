"""Position in a stage of training, which a snapshot keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(slots=True)
class StagePosition:
    """Position in a stage: steps, epochs, batches of this epoch, steps before it, passes of validations."""

    step: int = 0
    epoch: int = 0
    taken: int = 0
    before: int = 0
    examples: int = 0
    validated: int = 0
    progress: float = 0.0
    validating: float = 0.0
    last_validation: float = 0.0
