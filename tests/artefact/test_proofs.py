"""A certificate with a proof: what it says, that it verifies, and what happens where there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from harden.artefact.artefact import Artefact
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.bounds import Method, Program, certify
from harden.data import Examples
from harden.evaluation.proofs.prove import RadiusSearch
from harden.graph import read
from harden.models import Classifier
from harden.threats import Linf
from harden.verifier.verify_command import main as verify

MakeClassifier = Callable[..., Classifier]
MakeClaim = Callable[..., Claim]
CROWN = Method(climb=None)


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


@pytest.fixture(scope="module")
def few(test: Examples) -> Examples:
    return test.take(torch.arange(40))


@pytest.fixture(scope="module")
def proved(
    make_classifier: MakeClassifier,
    make_claim: MakeClaim,
    few: Examples,
    tmp_path_factory: pytest.TempPathFactory,
) -> Artefact:
    claim = replace(make_claim(Linf("1/500")), search=RadiusSearch(CROWN, steps=1))
    return export(make_classifier(dense), tmp_path_factory.mktemp("proved") / "out", few, claim)


def test_the_bracket_closes_from_below(proved: Artefact, few: Examples) -> None:
    predicate = proved.certificate.predicate
    assert predicate.proof is not None
    x, y = few.batch(torch.arange(40)).x.float(), few.y
    certified = certify(
        Program.of(read(proved.folder / "model.onnx")), x, y, Linf("1/500"), CROWN
    ).certified.sum()
    assert predicate.bracket.certified.count == predicate.verdicts.certified == int(certified) > 0
    assert predicate.bracket.certified.count <= predicate.bracket.robust.count
    assert predicate.bracket.method == predicate.proof.method == "CROWN, adaptive slopes; deployed float32"
    assert [point.eps for point in predicate.proof.points] == ["1/1000", "1/500"]


def test_it_verifies_and_says_that_it_did_not_prove_again(
    proved: Artefact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify([str(proved.folder)]) == 0
    assert "not proved again here" in capsys.readouterr().out


def test_page_and_text_show_what_is_proved(proved: Artefact) -> None:
    page = (proved.folder / "report.html").read_text()
    assert 'class="line certified"' in page
    assert "Proved for every perturbation up to a radius" in page
    assert "at radius 1/1000" in str(proved.certificate)


def test_without_a_bound_for_an_operation_there_is_no_proof_and_a_warning(
    make_classifier: MakeClassifier,
    make_claim: MakeClaim,
    few: Examples,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.Linear(16, 10))

    claim = replace(make_claim(Linf("1/500")), search=RadiusSearch(CROWN, steps=1))
    with caplog.at_level(logging.WARNING, "harden"):
        artefact = export(make_classifier(normed), tmp_path / "out", few, claim)
    assert artefact.certificate.predicate.proof is None
    assert artefact.certificate.predicate.bracket.method is None
    assert "LayerNormalization" in caplog.text
