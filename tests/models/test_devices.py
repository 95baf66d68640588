"""Names of devices: the CPU is always there, others only where this machine has them."""

from __future__ import annotations

import pytest
import torch

from harden.errors import InputError
from harden.models.devices import check_device


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu")])
def test_the_cpu_is_a_device(name: str | torch.device) -> None:
    assert check_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x"])
def test_what_names_no_device_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_device(name)
    assert (caught.value.seen, caught.value.expected) == (f"device {name!r}", "cpu or cuda")


@pytest.mark.parametrize("name", ["meta", "mps", "cuda:0", "cuda:1"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="a device that is there") as caught:
        check_device(name)
    assert caught.value.seen == f"device {name!r} with 0 CUDA devices here"


def test_cuda_devices_are_counted_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cuda", "cuda:0", "cuda:1"):
        assert check_device(name) == torch.device(name)
    with pytest.raises(InputError, match="cuda:2"):
        check_device("cuda:2")
