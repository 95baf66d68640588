"""Valid small files of every kind: what the mutations start from."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.data import Examples
from harden.description import describe
from harden.evaluation import pgd_suite
from harden.models import Classifier
from harden.objectives import TRADES
from harden.threats import L1, L2, Linf
from harden.training.checkpointing.weights_file import save_weights
from harden.views import NATURAL

SHAPE, CLASSES = (1, 4, 4), 3
DESCRIBED = (Linf("8/255"), L2("1/2"), L1("12"), TRADES(beta=6.0), NATURAL)
TOML = 'data = "digits"\nout = "runs/x"\neps = "8/255"\nbudget = "300E"\nseed = 0\nbeta = 6.0\n'


def network(seed: int = 0) -> nn.Sequential:
    """A small convolutional network for images of SHAPE; its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES))


def write(folder: Path) -> None:
    """Write artefact/, weights.safetensors, three npz files, described values and a TOML file."""
    torch.set_num_threads(1)
    model = Classifier(network(), (0.4,), (0.3,)).eval()
    x = torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:2] = (y[:2] + 1) % CLASSES
    data = Examples(x, y, ("cat", "dog", "fox"), "seed")
    export(model, folder / "artefact", data, Claim(threat=Linf("1/16"), attempts=pgd_suite(5, 1)))
    _without_pictures(folder / "artefact")
    save_weights(model.network, folder)
    (folder / "described.json").write_text(json.dumps([describe(value) for value in DESCRIBED]))
    (folder / "config.toml").write_text(TOML)
    for name, made in _arrays().items():
        _save(folder / f"{name}.npz", made, compressed=name == "float32")


def _without_pictures(folder: Path) -> None:
    """Replace the gallery's pictures, which are not checked, by short ones: a mutation then hits what is."""
    from harden.certificate import canonical_json

    path = folder / "certificate.json"
    fields = json.loads(path.read_bytes())
    _timeless(fields)
    for pair in fields["predicate"]["gallery"]:
        pair.update(dict.fromkeys(("clean_png", "adversarial_png", "difference_png"), "AAAA"))
    fields["seal"]["sha256"] = canonical_json.seal_of(fields)
    path.write_bytes(canonical_json.render_json(fields))


def _timeless(value: Any) -> None:
    """Replace what differs from run to run: a case is then the same input again."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _timeless(part)
    if isinstance(value, dict):
        value.update({key: 0.5 for key in value if key == "seconds"})
        value.update({key: "2026-01-01T00:00:00+00:00" for key in value if key == "created"})


def _arrays() -> dict[str, dict[str, Any]]:
    draw = np.random.default_rng(0)
    made: dict[str, dict[str, Any]] = {}
    for name, kind in (("uint8", np.uint8), ("uint16", np.uint16), ("float32", np.float32)):
        whole = name != "float32"
        top = np.iinfo(name).max if whole else 1

        def images(n: int, kind: type = kind, top: int = top, whole: bool = whole) -> Any:
            drawn = draw.random((n, 4, 4, 1)) * top
            return (drawn.round() if whole else drawn).astype(kind)

        made[name] = {
            "x_train": images(12),
            "y_train": np.arange(12) % 3,
            "x_test": images(6),
            "y_test": (np.arange(6) % 3).astype(np.int32),
            "classes": np.array(["cat", "dog", "fox"], dtype="U3" if whole else "S3"),
        }
    return made


def _save(path: Path, arrays: dict[str, Any], compressed: bool) -> None:
    """As np.savez, with a date that is always the same, so that a seed has the same bytes on every day."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (2020, 1, 1, 0, 0, 0))
            archive.writestr(info, content.getvalue(), kind)


if __name__ == "__main__":
    import sys

    write(Path(sys.argv[1]))
