from __future__ import annotations

import pytest
import torch

from harden.kernels import backend


@pytest.fixture(scope="session")
def native() -> None:
    """Skips a test that is about the compiled library where plain torch runs, and says why it runs."""
    if backend().name != "native":
        pytest.skip(f"needs the compiled library: {backend().reason}")


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """Skips a test marked `cuda` where the compiled library can't run on a CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if backend("cuda").name != "native":
        pytest.skip(f"needs the compiled library on CUDA: {backend('cuda').reason}")
    return torch.device("cuda")
