"""benchmarks/bound_costs.py: a point is measured, and what was measured is drawn."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import pytest

from benchmarks import bound_costs


@pytest.mark.parametrize("method", sorted(bound_costs.METHODS))
def test_a_point_says_what_it_is_of(method: str) -> None:
    line = bound_costs.measured("dense", 8, method, 2, 1)
    assert (line["kind"], line["neurons"], line["method"], line["batch"]) == ("dense", 16, method, 2)
    assert line["seconds_per_image"] > 0
    assert line["peak_mib"] >= 0


def test_neurons_are_those_of_the_network() -> None:
    import torch

    for kind, size in (("dense", 8), ("conv", 3)):
        counted = 0
        x = torch.zeros(1, 1, 28, 28)
        for layer in bound_costs.network(kind, size).children():
            x = layer(x)
            counted += x.numel() if isinstance(layer, torch.nn.ReLU) else 0
        assert bound_costs.neurons(kind, size) == counted


def test_every_planned_point_is_another_one() -> None:
    points = list(bound_costs.points())
    assert len(points) == len(set(points))
    assert {method for _, _, method, _ in points} == set(bound_costs.METHODS)


def test_charts_are_well_formed_and_hold_every_point() -> None:
    found = [
        {
            "kind": kind,
            "size": size,
            "neurons": bound_costs.neurons(kind, size),
            "method": method,
            "batch": batch,
            "seconds_per_image": 0.001 * size * (1 + batch) ** -0.5,
            "peak_mib": 1.0,
        }
        for kind, size, method, batch in bound_costs.points()
    ]
    drawn = bound_costs.charts(found)
    assert set(drawn) == {"bound-costs-size.svg", "bound-costs-batch.svg"}
    for name, of in (("bound-costs-size.svg", 5), ("bound-costs-batch.svg", 4)):
        root = Xml.fromstring(drawn[name])
        dots = [each for each in root.iter() if each.tag.endswith("circle")]
        assert len(dots) == of * len(bound_costs.METHODS)
        said = {each.text for each in root.iter() if each.tag.endswith("text")}
        assert set(bound_costs.METHODS) <= said
