"""Training options of `harden run`, from the command line and from a file, reach the recipe of the run."""

from __future__ import annotations

import json
from pathlib import Path

import harden
from harden.cli import main

WORDS = ("run", "--data", "digits", "--budget", "20E", "--test-images", "20")


def test_options_reach_the_recipe_of_a_run_from_line_and_file(tmp_path: Path) -> None:
    file, said = tmp_path / "harden.toml", tmp_path / "said.json"
    file.write_text('ramp = 0.25\nattack-steps = 3\nschedule = "cosine"\n')
    words = [
        "run",
        "--data",
        "digits",
        "--out",
        str(tmp_path / "out"),
        "--budget",
        "20E",
        "--test-images",
        "20",
    ]
    line = ["--optimiser", "sgd", "--lr", "0.2", "--momentum", "0.5", "--schedule", "piecewise"]
    assert main([*words, *line, "--config", str(file), "--dry-run", "--json", str(said)]) == 0
    found = json.loads(said.read_text())["recipe"]
    recipe = harden.description.restore(found["described"])
    assert (found["pretrain"], found["finetune"]) == ("none", "madry")
    assert recipe == harden.Recipe(
        finetune=harden.AdversarialTraining(harden.PGD(3, step_size=0.5, keep_best=False)),
        optimiser=harden.training.SGD(0.2, momentum=0.5),
        schedule=harden.training.Piecewise(),
        ramp=0.25,
    )


def test_the_default_run_names_the_optimiser_that_it_will_use(tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    words = [
        "run",
        "--data",
        "digits",
        "--out",
        str(tmp_path / "out"),
        "--budget",
        "20E",
        "--test-images",
        "20",
    ]
    assert main([*words, "--dry-run", "--json", str(said)]) == 0
    described = json.loads(said.read_text())["recipe"]["described"]
    assert harden.description.restore(described["optimiser"]) == harden.training.SGD(0.15)
