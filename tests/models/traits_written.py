"""Networks as people write them: forwards that cast, write in place, keep state, hook, script, loop back."""

from __future__ import annotations

import queue
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.models.zoo import CLASSES, Case, Contiguous, body


class Around(nn.Module):
    """A body, and what happens before and after it."""

    def __init__(
        self,
        before: Callable[[Any, Tensor], Tensor] = lambda _, x: x,
        after: Callable[[Any, Tensor], Any] = lambda _, z: z,
        **held: object,
    ) -> None:
        super().__init__()
        self.body, self.before, self.after = body(), before, after
        for name, value in held.items():
            if isinstance(value, Tensor) and name.startswith("buffer"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.after(self, self.body(self.before(self, x)))


def counted(network: Any, x: Tensor) -> Tensor:
    network.buffer_calls += 1
    network.center = 0.9 * network.center + 0.1 * x.detach().mean(0)
    network.kept.append(x)
    network.features = x
    return x


def counting() -> nn.Module:
    kept: list[Tensor] = []
    return Around(
        counted, buffer_calls=torch.zeros((), dtype=torch.long), center=torch.zeros(3, 8, 8), kept=kept
    )


def hooked() -> nn.Module:
    """A hook that keeps activations, one that changes them, and one that is a method of an object."""
    network, kept = body(), {}

    def keep(_: nn.Module, __: object, answer: Tensor) -> None:
        kept["activation"] = answer

    class Maps:
        def __init__(self) -> None:
            self.network, self.seen = network, [torch.zeros(1)]

        def save(self, _: nn.Module, __: object, answer: Tensor) -> None:
            self.seen.append(answer)

    network.get_submodule("conv").register_forward_hook(keep)
    network.get_submodule("conv").register_forward_hook(Maps().save)
    network.get_submodule("hidden").register_forward_hook(lambda _, __, answer: 2 * answer)
    network.kept = [kept]  # type: ignore[assignment]  # what users do
    network(torch.rand(2, 3, 8, 8))
    return network


def stuck() -> nn.Module:
    network = body()
    network.held = {"lock": threading.Lock(), "deep": [queue.Queue()]}  # type: ignore[assignment]
    network.get_submodule("fc").parent = [network]  # type: ignore[assignment]
    return network


def scripted() -> nn.Module:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = self.layer(x).tanh()
            return x

    network = body()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather compile
        network[5] = torch.jit.script(Twice())
    return network


def patched() -> nn.Module:
    network: Any = body()
    inner = network.forward
    network.forward = lambda x: 2 * inner(x)
    made: nn.Module = network
    return made


def of_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return body()


def in_place(_: Any, x: Tensor) -> Tensor:
    x[:, 0] = 0.5 * x[:, 1]
    return x.sub_(0.5)


def filtered() -> nn.Module:
    def apply(network: Any, x: Tensor) -> Tensor:
        real: Tensor = torch.fft.ifft2(torch.fft.fft2(x) * network.spectrum).real
        return real

    return Around(apply, spectrum=nn.Parameter(torch.randn(3, 8, 8, dtype=torch.complex64)))


def listed(network: Any, x: Tensor) -> Tensor:
    normalised: Tensor = (x - network.statistics[0]) / network.statistics[1]["std"]
    return normalised


WRITTEN: dict[str, Case] = {
    "view": Case(Contiguous, "fc"),
    "len(x)": Case(lambda: Around(lambda _, x: x.view(len(x), 3, 64).view(len(x), 3, 8, 8)), "body.fc"),
    "cast": Case(lambda: Around(lambda _, x: x.float(), lambda _, z: z.to(torch.float32)), "body.fc"),
    "float64 logits": Case(lambda: Around(after=lambda _, z: z.double()), "body.fc", alone=False),
    "not registered": Case(
        lambda: Around(listed, statistics=[torch.full((3, 1, 1), 0.5), {"std": torch.tensor(0.25)}]),
        "body.fc",
    ),
    "in place": Case(lambda: Around(in_place), "body.fc"),
    "in place, a layer": Case(
        lambda: nn.Sequential(OrderedDict(relu=nn.ReLU(inplace=True), body=body())), "body.fc"
    ),
    "keeps state": Case(counting, "body.fc"),
    "hooked": Case(hooked, "fc", alone=False),
    "can't be copied": Case(stuck, "fc"),
    "scripted part": Case(scripted, "fc"),
    "patched forward": Case(patched, "fc", alone=False),
    "inference mode": Case(of_inference_mode, "fc", train=False),
    "complex weights": Case(filtered, "body.fc", classes=CLASSES),
}
