from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harden.artefact.artefact import Artefact
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.certificate.canonical_json import render_json, seal_of, sha256_file
from harden.data import Examples
from harden.errors import ExportError, InputError
from harden.evaluation import Phase
from harden.models import Classifier, copied
from harden.models.small_networks import small_cnn
from harden.system.folder_lock import LOCK_FILE
from harden.threats import L1, L2, Linf
from harden.verifier.verify_command import main as verify

MakeClassifier = Callable[..., Classifier]
MakeClaim = Callable[..., Claim]

FILES = {"certificate.json", "evidence.npz", "model.onnx", "report.html"}


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sealed_again(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edits a certificate as a forger would: digests and seal agree again afterwards."""
    path = folder / "certificate.json"
    fields = json.loads(path.read_text())
    edit(fields)
    for subject in fields["subject"]:
        subject["digest"]["sha256"] = sha256_file(folder / subject["name"])
    fields["seal"]["sha256"] = seal_of(fields)
    path.write_bytes(render_json(fields))


def test_the_folder_holds_four_files_and_verifies(issued: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.name for path in issued.iterdir()} == FILES
    assert verify([str(issued)]) == 0
    said = capsys.readouterr().out
    count = Artefact(issued).certificate.predicate.evidence.witnesses
    assert f"{count} witnesses break the file" in said
    assert "BROKEN" not in said


def test_files_of_an_artefact_can_be_read_by_others(issued: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in issued.iterdir()} == {0o644}


def test_no_file_tells_about_the_machine(issued: Path) -> None:
    for name, content in listing(issued).items():
        for word in (str(Path.cwd()), str(Path.home()), str(issued.parent), "site-packages"):
            assert word.encode() not in content, (name, word)


def test_counts_follow_from_the_evidence(issued: Path, test: Examples) -> None:
    predicate = Artefact(issued).certificate.predicate
    stored = np.load(issued / "evidence.npz")
    logits = Artefact(issued)(test.x.numpy())
    right = logits.argmax(1) == test.y.numpy()
    assert predicate.clean.count == right.sum()
    broken = np.zeros(len(test), bool)
    broken[stored["index"]] = True
    assert right[broken].all()
    assert predicate.bracket.robust.count == (right & ~broken).sum()
    assert predicate.bracket.certified.count == predicate.verdicts.certified == 0
    assert predicate.bracket.method is None
    np.testing.assert_array_equal(stored["original"], test.x.numpy()[stored["index"]])
    assert (np.abs(stored["witness"].astype(np.float64) - stored["original"]) <= 0.1).all()
    wrong = Artefact(issued)(stored["witness"]).argmax(1)
    assert (wrong != stored["label"]).all()
    assert predicate.data.digest == test.digest()


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (lambda f: f["predicate"]["clean"].update(count=f["predicate"]["clean"]["count"] + 1), "BROKEN"),
        (lambda f: f["predicate"]["bracket"]["robust"].update(value=0.99), "BROKEN"),
        (lambda f: f["predicate"]["threat"].update(eps="1/20"), "BROKEN  certificate.json  curve"),
        (
            lambda f: (f["predicate"]["threat"].update(eps="1/20"), f["predicate"].update(curve=None)),
            "outside the linf ball",
        ),
        (lambda f: f["predicate"]["verdicts"].update(certified=1), "BROKEN"),
        (lambda f: f["predicate"]["evidence"].update(witnesses=0), "BROKEN"),
    ],
    ids=["count", "value", "eps", "eps without curve", "certified", "fewer witnesses"],
)
def test_an_edit_is_found_though_the_seal_was_made_anew(
    artefact: Artefact,
    capsys: pytest.CaptureFixture[str],
    edit: Callable[[dict[str, Any]], object],
    check: str,
) -> None:
    sealed_again(artefact.folder, lambda fields: None)
    assert verify([str(artefact.folder)]) == 0
    sealed_again(artefact.folder, edit)
    capsys.readouterr()
    assert verify([str(artefact.folder)]) == 1
    said = capsys.readouterr().out
    assert check in said
    assert re.search(r"holds +certificate\.json +seal", said)


def test_an_edit_alone_breaks_the_seal(artefact: Artefact) -> None:
    path = artefact.folder / "certificate.json"
    path.write_text(path.read_text().replace('"status": "ok"', '"status": "unreliable"'))
    assert verify([str(artefact.folder)]) == 1


@pytest.mark.parametrize("name", ["model.onnx", "evidence.npz"])
def test_a_flipped_bit_is_found(artefact: Artefact, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = artefact.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    assert verify([str(artefact.folder)]) == 1
    assert f"broken: {name}" in capsys.readouterr().out


def test_a_witness_that_breaks_nothing_is_found(
    artefact: Artefact, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artefact.folder / "evidence.npz"
    stored = dict(np.load(path))
    row = len(stored["index"]) - 1  # the gallery shows others: only the replay can find this one
    stored["witness"][row] = stored["original"][row]
    np.savez_compressed(path, **stored)
    sealed_again(artefact.folder, lambda fields: None)
    assert verify([str(artefact.folder)]) == 1
    assert "another class should win, but loses" in capsys.readouterr().out


def test_same_seed_same_bytes_and_a_certificate_that_can_be_reproduced(
    trained: Classifier,
    test: Examples,
    make_claim: MakeClaim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    found = []
    for name in ("one", "two"):
        export(trained, tmp_path / name, test, make_claim())
        files = listing(tmp_path / name)
        fields = json.loads(files["certificate.json"])
        assert fields["predicate"]["provenance"]["created"] == "2023-11-14T22:13:20+00:00"
        found.append((files["model.onnx"], files["evidence.npz"], without_seconds(fields)))
    assert found[0] == found[1]


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in ("seconds", "seal")}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def test_the_model_is_left_as_it_was(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path, rng_untouched: None
) -> None:
    model = Classifier(trained.network)
    model.train()
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 2.0)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, tmp_path / "out", test.take(torch.arange(20)), make_claim())
    assert all(part.training for part in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())
    assert all(bool((weight.grad == 2.0).all()) for weight in model.parameters() if weight.grad is not None)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    model.zero_grad(set_to_none=True)
    model.eval()


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head((x + 0.1 * torch.rand_like(x)).flatten(1))
        return answer


class Branching(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x.flatten(1))
        return answer if answer.sum() > 0 else -answer


@pytest.mark.parametrize("build", [Noisy, Branching])
def test_a_refused_network_leaves_the_older_artefact_valid(
    artefact: Artefact,
    make_classifier: MakeClassifier,
    test: Examples,
    make_claim: MakeClaim,
    build: Callable[[], nn.Module],
) -> None:
    before = listing(artefact.folder)
    with pytest.raises(ExportError, match=r"expected .*; "):
        export(make_classifier(build), artefact.folder, test, make_claim())
    assert listing(artefact.folder) == before
    assert [path for path in artefact.folder.rglob("*") if path.is_dir()] == []
    assert verify([str(artefact.folder)]) == 0


def test_a_model_to_compare_with_that_is_refused_leaves_it_valid_too(
    artefact: Artefact,
    trained: Classifier,
    make_classifier: MakeClassifier,
    test: Examples,
    make_claim: MakeClaim,
) -> None:
    """It is exported last, after the file itself was attacked."""
    before = listing(artefact.folder)
    with pytest.raises(ExportError):
        export(trained, artefact.folder, test, make_claim(before=make_classifier(Noisy)))
    assert listing(artefact.folder) == before
    assert verify([str(artefact.folder)]) == 0


def test_an_interruption_leaves_it_valid_too(
    artefact: Artefact, trained: Classifier, test: Examples, make_claim: MakeClaim
) -> None:
    def interrupt(phase: Phase) -> None:
        if phase.name == "accuracy over eps":
            raise KeyboardInterrupt

    before = listing(artefact.folder)
    with pytest.raises(KeyboardInterrupt):
        export(trained, artefact.folder, test, make_claim(), on_phase=interrupt)
    assert listing(artefact.folder) == before


def test_a_new_artefact_replaces_an_older_one_with_all_that_belonged_to_it(
    artefact: Artefact,
    make_classifier: MakeClassifier,
    test: Examples,
    make_claim: MakeClaim,
) -> None:
    (artefact.folder / "checkpoint").mkdir()
    (artefact.folder / "checkpoint" / "weights.safetensors").write_text("of the older model")
    (artefact.folder / "history.jsonl").write_text("of the older model")
    before = listing(artefact.folder)
    # Fresh weights: a model that is at chance, so that hardly anything is right to begin with.
    export(make_classifier(seed=5), artefact.folder, test, make_claim())
    after = listing(artefact.folder)
    assert set(after) == FILES
    assert all(after[name] != before[name] for name in FILES)
    assert verify([str(artefact.folder)]) == 0


def test_a_kill_in_the_middle_leaves_nothing_that_verifies(
    artefact: Artefact, capsys: pytest.CaptureFixture[str]
) -> None:
    script = """
import sys
import torch
from harden.artefact.measure_file import Claim
from harden.artefact.export import export
from harden.data import load
from harden.evaluation import pgd_suite
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.threats import Linf

def report(phase):
    if phase.name == "attack the file":
        print("attacking", flush=True)
        sys.stdin.read()

torch.set_num_threads(1)
claim = Claim(Linf("1/10"), pgd_suite(1, 1), batch_size=5)
test = load("digits").test.take(torch.arange(20))
export(Classifier(small_cnn()), sys.argv[1], test, claim, on_phase=report)
"""
    older = listing(artefact.folder)
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(artefact.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"attacking\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    # What was there before is unchanged, next to what the kill left, which is no artefact.
    assert {name: listing(artefact.folder)[name] for name in older} == older
    assert verify([str(artefact.folder)]) == 0
    (left,) = {path.name for path in artefact.folder.iterdir()} - FILES - {LOCK_FILE}
    assert (artefact.folder / left / "model.onnx").is_file()
    capsys.readouterr()
    assert verify([str(artefact.folder / left)]) == 2
    assert "no certificate.json" in capsys.readouterr().err


def test_after_a_kill_the_folder_serves_again(
    artefact: Artefact, trained: Classifier, test: Examples, make_claim: MakeClaim
) -> None:
    (artefact.folder / ".harden-export-killed").mkdir()
    (artefact.folder / ".harden-export-killed" / "model.onnx").write_text("half")
    export(trained, artefact.folder, test.take(torch.arange(20)), make_claim())
    assert {path.name for path in artefact.folder.iterdir()} == FILES
    assert verify([str(artefact.folder)]) == 0


def test_l2_end_to_end(trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path) -> None:
    artefact = export(trained, tmp_path / "out", test, make_claim(L2("1/2")))
    predicate = artefact.certificate.predicate
    assert (predicate.threat.norm, predicate.threat.eps) == ("l2", "1/2")
    stored = np.load(tmp_path / "out" / "evidence.npz")
    assert 0 < len(stored["index"]) == predicate.evidence.witnesses < 40
    change = (stored["witness"].astype(np.float64) - stored["original"]).reshape(len(stored["index"]), -1)
    assert (np.linalg.norm(change, axis=1) <= 0.5 + 1e-12).all()
    assert np.abs(change).max() > 0.1  # it is not the L-inf ball of the other tests
    assert verify([str(tmp_path / "out")]) == 0


def test_l1_end_to_end(trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path) -> None:
    artefact = export(trained, tmp_path / "out", test, make_claim(L1("3/2")))
    predicate = artefact.certificate.predicate
    assert (predicate.threat.norm, predicate.threat.eps) == ("l1", "3/2")
    assert "L1, eps 3/2" in str(artefact.certificate)
    stored = np.load(tmp_path / "out" / "evidence.npz")
    assert 0 < len(stored["index"]) == predicate.evidence.witnesses < 40
    for witness, original in zip(stored["witness"], stored["original"], strict=True):
        pairs = zip(witness.ravel().tolist(), original.ravel().tolist(), strict=True)
        assert sum(abs(Fraction(a) - Fraction(b)) for a, b in pairs) <= Fraction(3, 2)
    assert np.abs(stored["witness"] - stored["original"]).max() > 0.3  # sparse: far in few pixels
    assert verify([str(tmp_path / "out")]) == 0


def test_a_threat_too_small_to_break_anything(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path
) -> None:
    artefact = export(trained, tmp_path / "out", test, make_claim(Linf("1/1000000")))
    predicate = artefact.certificate.predicate
    assert predicate.evidence.witnesses == len(predicate.gallery) == 0
    assert predicate.bracket.robust == predicate.clean
    # Nothing found is nothing proved.
    assert (predicate.verdicts.certified, predicate.verdicts.unknown) == (0, predicate.clean.count)
    assert verify([str(tmp_path / "out")]) == 0


def test_a_model_that_is_always_wrong(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path
) -> None:
    with torch.no_grad():
        predicted = trained(test.x).argmax(1)
    wrong = Examples(test.x, (predicted + 1) % 10, test.classes, "mislabelled")
    artefact = export(trained, tmp_path / "out", wrong, make_claim())
    predicate = artefact.certificate.predicate
    assert predicate.clean.count == predicate.bracket.robust.count == predicate.evidence.witnesses == 0
    assert predicate.verdicts.falsified == 40
    assert verify([str(tmp_path / "out")]) == 0


def test_colour_images_through_a_data_loader(
    make_classifier: MakeClassifier, make_claim: MakeClaim, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(24, 3, 16, 16, generator=generator)
    model = make_classifier(lambda: small_cnn(3, 3, 16), channels=3)
    with torch.no_grad():
        model.eval()
        y = model(x).argmax(1)
    y[:4] = (y[:4] + 1) % 3  # so that some are wrong from the start
    y[-1] = 2
    loader = DataLoader(TensorDataset(x, y), batch_size=10)
    artefact = export(model, tmp_path / "out", loader, make_claim(Linf("1/2"), before=model))
    predicate = artefact.certificate.predicate
    assert predicate.data.image_shape == (3, 16, 16)
    assert predicate.data.n == 24
    assert predicate.data.classes == ("0", "1", "2")
    assert 0 < predicate.evidence.witnesses <= 20
    assert predicate.comparison is not None
    # The same model compared with itself, under the same attacks on the same images.
    assert (predicate.comparison.clean, predicate.comparison.robust) == (
        predicate.clean,
        predicate.bracket.robust,
    )
    assert verify([str(tmp_path / "out")]) == 0


def test_data_decide_nothing_by_their_batches(
    trained: Classifier, test: Examples, issued: Path, make_claim: MakeClaim, tmp_path: Path
) -> None:
    loader = DataLoader(TensorDataset(test.x, test.y), batch_size=7)
    export(trained, tmp_path / "out", loader, make_claim())
    ours, other = Artefact(issued).certificate.predicate, Artefact(tmp_path / "out").certificate.predicate
    assert ours.data.digest == other.data.digest
    assert (ours.clean, ours.bits.clean_correct) == (other.clean, other.bits.clean_correct)


@pytest.mark.parametrize("data", [[], [(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64))]])
def test_no_images_are_refused_and_nothing_is_written(
    trained: Classifier, make_claim: MakeClaim, tmp_path: Path, data: object
) -> None:
    with pytest.raises(InputError):
        export(trained, tmp_path / "out", data, make_claim())
    assert listing(tmp_path) == {}


def test_a_foreign_folder_is_refused_before_any_work(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        export(trained, tmp_path, test, make_claim(), on_phase=lambda phase: pytest.fail(f"{phase}"))
    assert listing(tmp_path) == {"notes.txt": b"mine"}


def test_moved_artefacts_stay_valid(issued: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(issued, tmp_path / "elsewhere" / "renamed")
    assert verify([os.fspath(moved)]) == 0


class Named(TensorDataset):
    """A dataset that names its classes, as torchvision's do."""

    classes = ["zero", *map(str, range(1, 10))]  # noqa: RUF012  # as torchvision has it


def test_names_of_a_datasets_classes_stand_in_the_certificate(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path
) -> None:
    loader = DataLoader(Named(test.x, test.y), batch_size=16)
    data = export(trained, tmp_path / "out", loader, make_claim()).certificate.predicate.data
    assert data.classes == tuple(Named.classes)
    assert data.name == "DataLoader over Named"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_other_precision_is_attacked_in_that_of_the_file(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path, dtype: torch.dtype
) -> None:
    model = copied(trained).to(dtype)
    seen: list[torch.dtype] = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    artefact = export(model, tmp_path / "out", test, make_claim())
    twin = export(copied(trained).to(dtype).float(), tmp_path / "twin", test, make_claim())
    assert (artefact.folder / "model.onnx").read_bytes() == (twin.folder / "model.onnx").read_bytes()
    assert artefact.certificate.predicate.bits == twin.certificate.predicate.bits
    # The parity gate alone uses a float64 copy.
    assert dtype == torch.float64 or dtype not in seen
    assert next(model.parameters()).dtype == dtype


def test_a_folder_that_another_process_writes_to_is_refused(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path
) -> None:
    code = (
        "import sys, time, pathlib\nfrom harden.system.folder_lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            with pytest.raises(InputError, match=r"another process .* is writing to; expected a folder"):
                export(trained, tmp_path, test, make_claim())
        finally:
            other.kill()
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_FILE}


def test_a_refused_export_leaves_no_folder(
    trained: Classifier, test: Examples, make_claim: MakeClaim, tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        export(trained, tmp_path / "a" / "out", (test.x, test.y + 90), make_claim())
    assert list(tmp_path.iterdir()) == []
