"""--config: options from a TOML file, checked whole, with flags before them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.certificate.certificate_file import read
from harden.cli import app, gate_app
from harden.cli.options.config_file import options_of
from harden.errors import InputError

Harden = Callable[..., Any]
COMMANDS: dict[str, Callable[..., Any]] = {
    "run": app.run,
    "evaluate": app.evaluate,
    "export": app.export,
    "doctor": app.doctor,
    "certify": app.certify,
    "check": gate_app.check,
    "baseline-update": gate_app.update,
}


def told(tmp_path: Path, text: str, command: str = "run", name: str = "harden.toml") -> dict[str, Any]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return options_of(path, command, COMMANDS)


def test_names_are_those_of_the_flags_with_dashes_or_underscores(tmp_path: Path) -> None:
    text = 'eps = "4/255"\ntest-images = 100\nbatch_size = 64\nlr = 1\njson = "x.json"\ndrop-leaks = true\n'
    assert told(tmp_path, text) == {
        "eps": "4/255",
        "test_images": 100,
        "batch_size": 64,
        "lr": 1,
        "json_file": "x.json",
        "drop_leaks": True,
    }


def test_a_commands_own_table_comes_before_the_top(tmp_path: Path) -> None:
    text = 'steps = 20\nbudget = "30E"\n[evaluate]\nsteps = 5\n[run]\nrestarts = 2\n'
    assert told(tmp_path, text, "run") == {"steps": 20, "budget": "30E", "restarts": 2}
    # `evaluate` has no budget: what stands at the top holds for the commands that know it.
    assert told(tmp_path, text, "evaluate") == {"steps": 5}
    assert told(tmp_path, text, "export") == {"steps": 20}


def test_a_pyproject_is_read_from_its_own_table_alone(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[tool.other]\nbad = 1\n'
    text += "[tool.harden]\nsteps = 3\n[tool.harden.run]\nlr = 0.5\n"
    assert told(tmp_path, text, name="pyproject.toml") == {"steps": 3, "lr": 0.5}
    assert told(tmp_path, text, name="other.toml") == {"steps": 3, "lr": 0.5}


def test_lists_stand_for_numbers_with_commas_and_for_options_given_several_times(tmp_path: Path) -> None:
    text = 'mean = [0.485, 0.5, 1]\nstd = "0.2,0.3,0.4"\nclass-weights = [1, 2.5]\noutput = 1\n'
    text += 'log = ["tensorboard:a", "mlflow:b"]\n'
    assert told(tmp_path, text) == {
        "mean": "0.485,0.5,1",
        "std": "0.2,0.3,0.4",
        "class_weights": "1,2.5",
        "output": "1",
        "log": ["tensorboard:a", "mlflow:b"],
    }


WRONG = [
    ('epz = "8/255"', "harden.toml: 'epz'", "the name of an option", "did you mean eps?"),
    ("[run]\ntest-image = 3", "[run]: 'test-image'", "the name of an option", "did you mean test_images?"),
    ("[evaluate]\nbudget = '1E'", "[evaluate]: 'budget'", "the name of an option", ""),
    ("[runs]\nsteps = 3", "'runs'", "the name of an option", "did you mean run?"),
    ("[doctor]\njson = 'x'", "'doctor'", "the name of an option", ""),
    ("config = 'other.toml'", "'config'", "the name of an option", "give it on the command line"),
    ("accept-regression = 'x'", "'accept-regression'", "the name of an option", "on the command line"),
    ("[check]\nmargn = '2pp'", "[check]: 'margn'", "the name of an option", "did you mean margin?"),
    ("[check]\nnorm = 'l2'", "[check]: 'norm'", "the name of an option", "see harden check --help"),
    ("[baseline]\nseed = 1", "'baseline'", "or of a command's table", "did you mean baseline-update?"),
    ("[baseline-update]\ncertify = 1", "[baseline-update]: certify = 1", "true or false", "= true"),
    ("[check]\nalpha = '5%'", "[check]: alpha = '5%'", "a number", "write alpha = 0.5"),
    ("baseline-update = 1", "= 1", "a table of the options of harden baseline update", "write ["),
    ("[certify]\nradius-step = 1", "[certify]: 'radius-step'", "the name", "did you mean radius_steps?"),
    ("run = 3", "run = 3", "a table of the options of harden run", "write [run]"),
    ("steps = 3\n[run]\nsteps = '3'", "[run]: steps = '3'", "a whole number", "write steps = 1"),
    ("steps = true", "steps = True", "a whole number", "write steps = 1"),
    ("steps = 2.5", "steps = 2.5", "a whole number", "write steps = 1"),
    ("lr = 'small'", "lr = 'small'", "a number", "write lr = 0.5"),
    ("beta = true", "beta = True", "a number", "write beta = 0.5"),
    ("eps = 0.03", "eps = 0.03", "a string", 'write eps = "0.03"'),
    ("eps = []", "eps = []", "a string", 'write eps = "..."'),
    ("drop-leaks = 1", "drop_leaks = 1", "true or false", "write drop_leaks = true"),
    ("log = 'tensorboard:x'", "log = 'tensorboard:x'", "a list of strings", "write log = ["),
    ("log = [1]", "log = [1]", "a list of strings", "write log = ["),
    ("mean = ['a']", "mean = ['a']", "a string", "write mean"),
    ("mean = [true]", "mean = [True]", "a string", "write mean"),
    ("eps = 2024-01-01", "eps = datetime.date", "a string", "write eps"),
    ("batch_size = 3\nbatch-size = 4", "batch_size twice", "one of them", "leave one out"),
    ("steps = ", "harden.toml: ", "TOML", "write name = value"),
    ("steps = 1\nsteps = 2", "harden.toml: ", "TOML", "write name = value"),
    ('"a\\nb" = 1', "'a\\nb'", "the name of an option", "see harden run --help"),
    ("x = " + "[" * 5000 + "]" * 5000, "harden.toml: ", "TOML", "write name = value"),
    ("[tool.other]\nx = 1", "without [tool.harden]", "a table of options", "write [tool.harden]"),
    ("tool = 1", "without [tool.harden]", "a table of options", "write [tool.harden]"),
]


@pytest.mark.parametrize(("text", "seen", "expected", "instead"), WRONG, ids=[case[0][:24] for case in WRONG])
def test_what_is_no_option_or_of_another_type_is_refused_in_one_line(
    tmp_path: Path, text: str, seen: str, expected: str, instead: str
) -> None:
    with pytest.raises(InputError) as refused:
        told(tmp_path, text)
    error = refused.value
    assert seen in error.seen
    assert expected in error.expected
    assert instead in error.instead
    assert "\n" not in str(error)
    assert len(str(error)) < 600


def test_damaged_toml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2, column"):
        told(tmp_path, "steps = 3\nlr = 0.1 0.2\n")


def test_files_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(InputError) as refused:
            options_of(path, "run", COMMANDS)
        assert "\n" not in str(refused.value)
        return refused.value.seen

    assert refusal(tmp_path / "gone.toml") == f"no {tmp_path / 'gone.toml'}"
    assert refusal(tmp_path) == f"{tmp_path}, which is no file"
    assert refusal(Path("/dev/zero")) == "/dev/zero, which is no file"
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    assert refusal(tmp_path / "latin.toml").endswith("with a byte that is not UTF-8 at 5")
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(100 << 20)
    assert refusal(tmp_path / "huge.toml").endswith("huge.toml of 104,857,600 bytes")
    (tmp_path / "pyproject.toml").write_text("")
    assert refusal(tmp_path / "pyproject.toml").endswith("without [tool.harden]")


def test_flags_come_before_the_file_and_the_file_before_defaults(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harden.toml").write_text(
        f'data = "{npz}"\nout = "made"\neps = "1/10"\nsteps = 9\nrestarts = 1\nfinetune = "standard"\n'
        '[run]\nbudget = "2epochs"\nlr = 0.003\n[evaluate]\nsteps = 4\n'
    )
    answer = harden("run", "--config", "harden.toml", "--steps", "3")
    assert (answer.code, answer.err) == (0, "")
    predicate = read(tmp_path / "made").predicate
    assert predicate.threat.eps == "1/10"
    assert [attack.name for attack in predicate.attacks][:2] == ["pgd-3-ce", "pgd-3-margin"]
    assert (predicate.provenance.recipe or {})["budget"] == "2epochs"
    answer = harden("evaluate", "made", "--config", "harden.toml", "--json", "e.json")
    assert (answer.code, answer.err) == (0, "")
    assert {"pgd-4-ce", "pgd-4-margin"} < set(json.loads((tmp_path / "e.json").read_text())["per_attack"])


def test_no_file_is_read_where_none_is_asked_for(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harden.toml").write_text('out = "made"\nnonsense = 1\n')
    answer = harden("run", "--data", npz, "--config", "none")
    assert answer.code == 2
    assert "Missing option '--out'" in answer.err


def test_a_wrong_file_stops_the_command_before_anything_else(
    harden: Harden, npz: str, tmp_path: Path
) -> None:
    path = tmp_path / "harden.toml"
    path.write_text('budgt = "3epochs"\n')
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", "--config", path)
    assert answer.code == 2
    assert answer.err == (
        f"harden: {path}: 'budgt'; expected the name of an option, such as eps; did you mean budget?\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_guides_file_is_one(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    said = told(tmp_path, text)
    assert (said["budget"], said["mean"], said["test_images"]) == ("300E", "0.5", 500)
    assert told(tmp_path, text, "evaluate") == {
        "data": "npz:scans.npz",
        "eps": "4/255",
        "test_images": 500,
        "minutes": 10.0,
    }


def test_a_number_of_more_digits_than_python_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected TOML; write name = value") as caught:
        told(tmp_path, f"seed = {'9' * 5000}\n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words", [("check", "m.onnx"), ("baseline", "update", "m.onnx"), ("certify", "m.onnx")]
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('daat = "digits"\n', "'daat'; expected the name of an option, such as eps; did you mean data?"),
        ("seed = 0.5\n", "seed = 0.5; expected a whole number; write seed = 1"),
        ('[check]\nmargin = "2pp"\nfloo = "40%"\n', "[check]: 'floo'"),
    ],
)
def test_the_gates_commands_refuse_a_wrong_file_in_one_line(
    harden: Harden, tmp_path: Path, words: tuple[str, ...], text: str, said: str
) -> None:
    path = tmp_path / "harden.toml"
    path.write_text(text)
    answer = harden(*words, "--config", path)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_the_gates_commands_take_their_options_from_a_file(
    harden: Harden, npz: str, finished: Path, tmp_path: Path
) -> None:
    path, baseline = tmp_path / "harden.toml", tmp_path / "b.json"
    few = "steps = 2\nrestarts = 1\ntest-images = 20\n"
    path.write_text(
        f'data = "{npz}"\nnorm = "l2"\neps = "1/7"\nbaseline = "{baseline}"\n'
        f'[baseline-update]\nattacks = "pgd"\n{few}[check]\nfloor = "100%"\n'
        "[certify]\nradius-steps = 0\ntest-images = 3\n"
    )
    model = finished / "model.onnx"
    answer = harden("baseline", "update", model, "--config", path)
    assert (answer.code, answer.err) == (0, "")
    (check,) = json.loads(baseline.read_text())["checks"]
    assert check == "l2 1/7 pgd"
    answer = harden("check", model, "--config", path)
    assert (answer.code, "below the floor of 100 %" in answer.out) == (1, True), answer.err
    assert harden("check", model, "--config", path, "--floor", "1%").code == 0
    answer = harden("certify", model, "--config", path, "--json", tmp_path / "proved.json")
    assert answer.code == 0, answer.err
    proved = json.loads((tmp_path / "proved.json").read_text())
    assert (proved["threat"]["eps"], proved["n"]) == ("1/7", 3)


# The file in the working folder


QUICK = 'data = "{npz}"\neps = "1/50"\nsteps = 2\nrestarts = 1\ntest-images = 20\n'


@pytest.fixture
def here(npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a harden.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harden.toml").write_text(QUICK.format(npz=npz))
    return tmp_path


def test_the_file_in_the_working_folder_is_read_and_told(harden: Harden, here: Path) -> None:
    answer = harden("evaluate", "small", "--json", "x.json")
    assert (answer.code, answer.err) == (0, "")
    assert "options from harden.toml: data, eps, restarts, steps, test-images" in answer.out
    found = json.loads((here / "x.json").read_text())
    assert (found["threat"]["eps"], found["n"]) == ("1/50", 20)


def test_the_command_line_goes_before_the_file_in_the_working_folder(harden: Harden, here: Path) -> None:
    assert harden("evaluate", "small", "--eps", "1/40", "--json", "x.json").code == 0
    assert json.loads((here / "x.json").read_text())["threat"]["eps"] == "1/40"


def test_none_leaves_it_out_and_another_file_takes_its_place(harden: Harden, here: Path) -> None:
    answer = harden("evaluate", "small", "--config", "none")
    assert (answer.code, "--data" in answer.err, "harden.toml" in answer.out) == (2, True, False)
    (here / "other.toml").write_text((here / "harden.toml").read_text().replace("1/50", "1/60"))
    answer = harden("evaluate", "small", "--config", "other.toml", "--json", "x.json")
    assert (answer.code, "harden.toml" in answer.out) == (0, False)
    assert json.loads((here / "x.json").read_text())["threat"]["eps"] == "1/60"


@pytest.mark.parametrize(
    ("text", "seen"), [('epz = "1/9"', "'epz'"), ("steps = '3'", "steps = '3'"), ("= 1", "harden.toml: ")]
)
def test_a_bad_file_that_nobody_named_is_refused_and_can_be_left_out(
    harden: Harden, here: Path, text: str, seen: str
) -> None:
    (here / "harden.toml").write_text(text)
    answer = harden("evaluate", "small", "--data", "digits")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert seen in answer.err
    assert answer.err.endswith("or --config none to leave the file in this folder unread\n")


@pytest.mark.parametrize("words", [("evaluate", "--help"), ("doctor",), ("--version",)], ids=" ".join)
def test_what_takes_no_options_from_it_does_not_read_it(
    harden: Harden, here: Path, words: tuple[str, ...]
) -> None:
    (here / "harden.toml").write_text("nonsense")
    assert harden(*words).code in (0, 1)


def test_consent_to_replace_stands_in_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give it on the command line"):
        told(tmp_path, "force = true\n")
