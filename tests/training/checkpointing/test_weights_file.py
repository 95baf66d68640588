from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from harden.errors import InputError
from harden.training.checkpointing.weights_file import (
    WEIGHTS_FILE,
    load_weights_file,
    restore_weights,
    restore_weights_file,
    save_weights,
)
from harden.training.weights.weight_averaging import weights_of


def network(tied: bool = False, width: int = 4, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, width), nn.Linear(width, width)
        )
        layers.append(nn.Linear(width, width))
    if tied:
        layers[5].weight = layers[4].weight
    layers[1].register_buffer("slow", torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)).T)
    return layers


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("tied", [False, True])
def test_round_trip_is_bit_exact_in_place_and_keeps_ties(tmp_path: Path, tied: bool) -> None:
    saved, target = network(tied), network(tied, seed=1)
    with torch.no_grad():
        weights = saved.state_dict()  # shares memory with the module
        weights["1.running_var"].mul_(3)
        weights["1.num_batches_tracked"].fill_(7)
        weights["3.bias"][0] = float("nan")
    path = save_weights(saved, tmp_path / "new" / "checkpoint")
    assert path == tmp_path / "new" / "checkpoint" / WEIGHTS_FILE
    parameters = list(target.parameters())
    assert not equal(weights_of(saved), weights_of(target))
    restore_weights(target, path.parent)
    for name, value in weights_of(saved).items():
        mine = target.state_dict()[name]
        assert mine.dtype == value.dtype
        assert torch.equal(mine.nan_to_num(99), value.nan_to_num(99))
    assert all(mine is before for mine, before in zip(target.parameters(), parameters, strict=True))
    assert (target[5].weight is target[4].weight) == tied


def test_the_file_is_the_same_for_the_same_weights(tmp_path: Path) -> None:
    first = save_weights(network(), tmp_path / "a").read_bytes()
    assert save_weights(network(), tmp_path / "b").read_bytes() == first
    assert save_weights(network(seed=1), tmp_path / "b").read_bytes() != first


def test_saving_leaves_the_module_as_it_is(tmp_path: Path) -> None:
    module = network(tied=True)
    before = weights_of(module)
    save_weights(module, tmp_path)
    assert equal(weights_of(module), before)
    assert module[5].weight is module[4].weight


@pytest.mark.parametrize("damage", ["empty", "short", "cut", "noise", "header"])
def test_a_damaged_file_is_refused_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    path = save_weights(network(), tmp_path)
    content = path.read_bytes()
    noise = bytes(torch.randint(256, (500,), generator=torch.Generator().manual_seed(0)).tolist())
    damaged = {
        "empty": b"",
        "short": content[:5],
        "cut": content[:-4],
        "noise": noise,
        "header": content[:8] + b"x" + content[9:],
    }
    path.write_bytes(damaged[damage])
    target = network(seed=1)
    before = weights_of(target)
    with pytest.raises(InputError, match="damaged") as caught:
        restore_weights(target, tmp_path)
    assert WEIGHTS_FILE in caught.value.seen
    assert equal(weights_of(target), before)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="existing file") as caught:
        restore_weights(network(), tmp_path / "nowhere")
    assert "nowhere" in caught.value.seen


@pytest.mark.parametrize("change", ["width", "missing", "more", "dtype"])
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path: Path, change: str) -> None:
    weights = {name: value.contiguous() for name, value in weights_of(network()).items()}
    name = "4.bias"
    if change == "width":
        weights[name] = torch.zeros(5)
    elif change == "missing":
        del weights[name]
    elif change == "more":
        name = "9.bias"
        weights[name] = torch.zeros(1)
    else:
        weights[name] = weights[name].double()
    (tmp_path / WEIGHTS_FILE).write_bytes(save(weights))
    target = network(seed=1)
    before = weights_of(target)
    with pytest.raises(InputError, match="weights of this very network") as caught:
        restore_weights(target, tmp_path)
    assert name in caught.value.seen
    assert equal(weights_of(target), before)


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = save_weights(network(), tmp_path)
    old = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="disk full"):
            save_weights(network(seed=1), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [WEIGHTS_FILE]
    assert path.read_bytes() == old
    # And the save is what would have changed it.
    save_weights(network(seed=1), tmp_path)
    assert path.read_bytes() != old


def test_a_folder_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="Is a directory; expected a safetensors file with weights; point to a"
    ):
        restore_weights_file(nn.Linear(2, 3), tmp_path)


@pytest.mark.parametrize(
    ("prefix", "taken"),
    [
        ("", ""),
        ("module.", "module."),
        ("_orig_mod.", "_orig_mod."),
        ("model.", "model."),
        ("net.", "net."),
        ("module._orig_mod.", "module._orig_mod."),
    ],
)
def test_what_a_wrapper_puts_before_names_is_taken_off(tmp_path: Path, prefix: str, taken: str) -> None:
    source, target = network(), network(seed=1)
    path = tmp_path / "given.safetensors"
    path.write_bytes(
        save({f"{prefix}{name}": value.contiguous() for name, value in weights_of(source).items()})
    )
    notes = load_weights_file(target, path)
    assert equal(weights_of(target), weights_of(source))
    assert [repr(taken) in note for note in notes] == ([True] if taken else [])


def test_a_prefix_that_is_the_networks_own_is_kept(tmp_path: Path) -> None:
    source, target = (nn.ModuleDict({"model": network(seed=seed)}) for seed in (0, 1))
    path = tmp_path / "given.safetensors"
    path.write_bytes(save({name: value.contiguous() for name, value in weights_of(source).items()}))
    assert load_weights_file(target, path) == ()
    assert equal(weights_of(target), weights_of(source))
    # Before all names or before none: a prefix of some is part of what does not fit.
    some = {
        (f"module.{name}" if at else name): value.contiguous()
        for at, (name, value) in enumerate(weights_of(source).items())
    }
    path.write_bytes(save(some))
    with pytest.raises(InputError, match="does not fit the network"):
        load_weights_file(target, path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_halves_go_into_a_float32_network_and_nothing_else_is_rounded(
    tmp_path: Path, kind: torch.dtype
) -> None:
    halves = {
        name: (value.to(kind) if value.is_floating_point() else value).contiguous()
        for name, value in weights_of(network()).items()
    }
    path, target = tmp_path / "given.safetensors", network(seed=1)
    path.write_bytes(save(halves))
    (note,) = load_weights_file(target, path)
    assert str(kind).removeprefix("torch.") in note
    for name, value in weights_of(target).items():
        assert value.dtype == (torch.float32 if value.is_floating_point() else value.dtype)
        assert torch.equal(value, halves[name].to(value.dtype))
    path.write_bytes(save({name: value.double() for name, value in halves.items()}))
    before = weights_of(target)
    with pytest.raises(InputError, match="is float64 in the file, float32 in the network"):
        load_weights_file(target, path)
    assert equal(weights_of(target), before)
