"""The generator of masking defences: its operations, the answers of its networks, what its attack breaks."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import masking
from benchmarks.masking_defences import costs, honest, operations
from benchmarks.masking_defences.adaptive import Adaptive
from benchmarks.masking_defences.defences import DEFENCES, Construction, Workshop
from benchmarks.masking_defences.networks import Data
from benchmarks.masking_defences.settings import BASES, HARD, HIDDEN, OTHERS, SEEN, SHORTCUTS, Setting, grid
from harden.attacks import PGD
from harden.data import load
from harden.evaluation import Attempt
from harden.evaluation import evaluate as real
from harden.losses import CrossEntropy

EPS = 0.2
QUICK = Adaptive("linf", EPS, steps=10, restarts=1, classes=0)


def digits(steps: int, images: int = 600) -> Data:
    splits = load("digits")
    train, test = splits.train.batch(torch.arange(images)), splits.test.batch(torch.arange(60))
    return Data("digits", train.x, train.y, test.x, test.y, 10, steps)


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Workshop(digits(150), 0)
    torch.set_num_threads(threads)


def accuracy(network: nn.Module, data: Data) -> float:
    with torch.no_grad():
        return float((network(data.test_x).argmax(1) == data.test_y).float().mean())


def robust(attack: Adaptive, built: Construction, data: Data) -> float:
    return float((~attack.broken(built, data.test_x, data.test_y, 0)).float().mean())


def test_the_grid_is_large_distinct_and_holds_what_was_seen() -> None:
    settings = grid()
    assert settings == grid()
    assert len({setting.name for setting in settings}) == len(settings) >= 30
    assert settings[0] == SEEN
    assert {setting.defence for setting in settings} == set(DEFENCES) == {"none", *HIDDEN, *HARD, *OTHERS}
    assert {setting.shortcut for setting in settings} == set(SHORTCUTS)
    assert {setting.base for setting in settings} == set(BASES)
    assert len({(setting.norm, setting.eps) for setting in settings}) == 4


@pytest.mark.parametrize("defence", sorted(DEFENCES))
def test_a_defence_keeps_the_answers_and_falls_to_who_knows_it(defence: str, workshop: Workshop) -> None:
    built = workshop.built(Setting(defence, "negated", "plain", "linf", EPS))
    clean, base = accuracy(built.network, workshop.data), accuracy(built.base, workshop.data)
    assert base >= 0.8
    assert abs(clean - base) <= 0.08
    assert robust(QUICK, built, workshop.data) <= clean - 0.4


@pytest.mark.parametrize("name", SHORTCUTS)
def test_a_shortcut_changes_hardly_an_answer(name: str, workshop: Workshop) -> None:
    with_it, without = (
        workshop.built(Setting("one-hot", each, "plain", "linf", EPS)).network(workshop.data.test_x)
        for each in (name, "none")
    )
    assert (with_it.argmax(1) == without.argmax(1)).float().mean() >= 0.95
    assert (with_it - without).abs().max() < 0.5


@pytest.mark.parametrize("base", BASES)
def test_gradients_of_the_defended_network_alone_break_less(base: str, workshop: Workshop) -> None:
    built = workshop.built(Setting("one-hot", "negated", base, "linf", EPS))
    naive = Construction(built.network, built.base, (built.network,))
    assert robust(QUICK, naive, workshop.data) >= robust(QUICK, built, workshop.data) + 0.2


def test_settings_are_built_and_attacked_alike_again(workshop: Workshop) -> None:
    state, setting = torch.get_rng_state(), Setting("vote", "network", "noise", "linf", EPS)
    found, few = [], digits(1, 128)
    for place in (Workshop(few, 3), Workshop(few, 3), Workshop(few, 4)):
        built = place.built(setting)
        answers = built.network(place.data.test_x)
        found.append((answers, QUICK.broken(built, place.data.test_x, place.data.test_y, 1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[2][0])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_adaptive_attack_stays_in_ball_and_box(norm: str) -> None:
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    weights = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []

    def judged(point: Tensor) -> Tensor:
        seen.append(point)
        return torch.eye(3)[:1].expand(len(point), 3)  # always right, so that the attack never ends early

    inside = operations.Function(lambda point: point.flatten(1) @ weights)
    built = Construction(operations.Function(judged), inside, (inside,))
    attack = Adaptive(norm, 0.3, steps=7, restarts=2, classes=2)
    assert not attack.broken(built, x, torch.zeros(5, dtype=torch.int64), 0).any()
    assert len(seen) == 1 + 7 * 2 * 4
    away = torch.stack([(point.double() - x.double()).flatten(1) for point in seen])
    lengths = away.abs().amax(2) if norm == "linf" else away.norm(dim=2)
    assert float(lengths.max()) <= 0.3
    assert float(lengths.max()) > 0.29
    assert 0 <= min(float(point.min()) for point in seen) <= max(float(point.max()) for point in seen) <= 1


def gradient(operation: operations.Operation, z: Tensor) -> Tensor:
    point = z.clone().requires_grad_()
    value = (operation(point) * torch.arange(1.0, z.shape[1] + 1)).sum()
    return torch.autograd.grad(value, point, materialize_grads=True)[0] if value.requires_grad else 0 * z


def test_operations_by_hand() -> None:
    z = torch.tensor([[2.0, -1.0, 1.3], [0.2, 0.9, 0.8]])
    assert operations.one_hot(z).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert operations.two_levels(z).tolist() == [[1, -1, -1], [-1, 1, -1]]
    assert operations.ranks(z).tolist() == [[2, 0, 1], [0, 2, 1]]
    assert torch.equal(operations.quantised(z), torch.tensor([[2.25, -1, 1], [0, 1.25, 1]]))
    assert torch.allclose(operations.clamped(z), torch.tensor([[0, -0.5, -0.5], [-0.5, 0, -0.1]]))
    assert operations.staircase(torch.tensor([-1.0, 0.4, 0.6, 1.7])).tolist() == [0, 0, 0.5, 1.5]
    assert (
        operations.winners(z, share=0.34).tolist() == z.clamp(min=0).where(z >= z.amax(1, True), 0.0).tolist()
    )
    slope = torch.arange(1.0, 4.0).expand(2, 3)
    assert torch.equal(gradient(operations.reversed_gradient, z), -slope)
    assert torch.equal(operations.reversed_gradient(z), z)
    assert torch.equal(operations.not_a_number(z), z)
    assert gradient(operations.not_a_number, z).isnan().all()
    assert torch.equal(gradient(operations.straight_through(operations.depth), z), slope)
    for flat in (
        operations.one_hot,
        operations.quantised,
        operations.ranks,
        operations.detached,
        operations.depth,
    ):
        assert not gradient(flat, z).any()


def test_operations_of_images() -> None:
    x = torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(operations.transform_coded(x, 1e-4), x, atol=2e-3)
    assert operations.transform_coded(x, 0.5).sub(x).abs().max() > 0.05
    hashed = operations.hashed_noise(x, 0.1)
    assert torch.equal(hashed[1:2], operations.hashed_noise(x[1:2], 0.1))
    away = (hashed - x)[(x > 0.1) & (x < 0.9)]
    assert away.abs().max() <= 0.1 + 1e-6
    assert abs(float(away.mean())) < 0.015
    assert abs(float(away.std()) - 0.2 / 12**0.5) < 0.01
    spike = torch.zeros(1, 1, 8, 8)
    spike[0, 0, 4, 4] = 1.0
    assert not operations.median(spike).any()


def test_the_control_is_of_forty_networks_that_answer() -> None:
    networks = honest.control(0)
    assert len({each.name for each in networks}) == len(networks) >= 40
    data = digits(1, 128)
    for name in honest.ARCHITECTURES:
        network = honest.trained(honest.Honest(name, "plain", "linf", 1), data)
        assert not any(part.training for part in network.modules())
        answers = network(data.test_x)
        assert answers.shape == (60, 10)
        assert answers.isfinite().all()


def _without_checks(text: str) -> str:  # a record sorts their names
    return re.sub(r"\[.*\]", "", text)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_trusted_number_that_is_too_high_fails_and_is_measured_once(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []

    def blind(model: Any, data: Any, threat: Any, attempts: Any, seed: int) -> Any:
        calls.append(seed)
        found = real(model, data, threat, [Attempt("pgd", PGD(steps=1), CrossEntropy)], seed=seed)
        kept = torch.zeros_like(found.broken)
        checks = () if trusted else tuple(dataclasses.replace(each, value=9e9) for each in found.checks)
        return dataclasses.replace(found, broken=kept, checks=checks)

    monkeypatch.setattr(masking, "evaluate", blind)
    monkeypatch.setattr(masking, "RECORD", tmp_path / "masking.jsonl")
    words = ["--toy", "--first", "1", "--record", "--seed", "5"]
    assert masking.main(words) == (1 if trusted else 0)
    first = capsys.readouterr().out
    assert masking.main(words) == (1 if trusted else 0)
    assert _without_checks(capsys.readouterr().out) == _without_checks(first)
    assert calls == [5]
    lines = [json.loads(line) for line in (tmp_path / "masking.jsonl").read_text().splitlines()]
    assert [line["setting"] for line in lines] == [setting.name for setting in grid()[:1]]
    for line in lines:
        assert line["difference_in_points"] > masking.POINTS
        assert line["verdict"] == ("FAIL" if trusted else "pass")
        assert line["difference_in_points"] == pytest.approx(
            100 * (line["robust"] - line["adaptive"]), abs=0.01
        )
    assert f"{int(trusted)} of 1 defences" in first


def test_a_network_without_a_path_is_refused_and_has_no_headline(capsys: pytest.CaptureFixture[str]) -> None:
    assert masking.main(["--toy", "--only", "one-hot + none over squares, linf 0.12", "--first", "1"]) == 0
    assert "1 refused" in capsys.readouterr().out


def test_another_checkout_is_used_whatever_is_installed(tmp_path: Path) -> None:
    (tmp_path / "harden").mkdir()
    (tmp_path / "harden" / "__init__.py").write_text("raise SystemExit(7)\n")
    assert costs.called(tmp_path, []) == 7
    assert not costs.is_in(tmp_path)
    assert costs.is_in(costs.package().parent)


def test_costs_are_ratios_of_sums() -> None:
    pairs = [
        ({"seconds": 1.0, "passes_per_image": 10.0}, {"seconds": 3.0, "passes_per_image": 10.0}),
        ({"seconds": 3.0, "passes_per_image": 30.0}, {"seconds": 3.0, "passes_per_image": 50.0}),
    ]
    assert costs.summary(pairs) == {"seconds_ratio": 1.5, "passes_per_image_ratio": 1.5}
