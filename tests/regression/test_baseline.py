"""The committed file: strict when read, sorted when written, no step down without a reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.errors import BaselineError, HeldError, InputError, RegressionError
from harden.regression.baseline import compared, differences, read, rendered, update
from harden.regression.baseline_records import (
    AttackSetting,
    Baseline,
    Setting,
)
from harden.system.folder_lock import LOCK_FILE, locked
from tests.regression.baseline_check import check, setting


def test_the_file_is_sorted_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "robustness-baseline.json"
    update(path, check(setting=setting("8/255")))
    written = update(path, check(setting=setting("4/255"), robust=200))
    assert read(path, "") == written
    assert list(written.checks) == ["linf 8/255 quick", "linf 4/255 quick"]
    fields = json.loads(path.read_text())
    assert path.read_text() == json.dumps(fields, indent=1, sort_keys=True) + "\n"
    assert list(fields["checks"]) == sorted(fields["checks"])
    assert fields["schema"] == "urn:harden:robustness-baseline:v1"
    assert max(len(line) for line in path.read_text().splitlines()) < 110
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]
    assert not (tmp_path / LOCK_FILE).exists()


def test_one_changed_image_is_a_change_of_few_lines(tmp_path: Path) -> None:
    one, other = (rendered(Baseline(checks={"linf 8/255 quick": check(robust=k)})) for k in (150, 151))
    changed = [pair for pair in zip(one.splitlines(), other.splitlines(), strict=True) if len(set(pair)) > 1]
    assert len(changed) == 5  # a row of bits, the count, the value, the two ends of the interval


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"no .*x\.json.*run this"):
        read(tmp_path / "x.json", "run this")
    with pytest.raises(BaselineError, match="can be read"):
        read(tmp_path, "run this")


def _edit(change: Callable[[Any], object]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        fields = json.loads(text)
        change(fields)
        return json.dumps(fields)

    return edited


def _robust(fields: Any) -> Any:
    return fields["checks"]["linf 8/255 quick"]["outcomes"]["robust"]


DAMAGES: list[tuple[Callable[[str], str], str]] = [
    (lambda text: "", "Expecting value"),
    (lambda text: text[: len(text) // 2], "line"),
    (lambda text: text.replace('"seed": 0', '"seed": 0, "seed": 1'), "occurs twice"),
    (lambda text: text.replace('"seed": 0', '"seed": NaN'), "not a JSON number"),
    (lambda text: "[]", "valid dictionary"),
    (lambda text: "[" * 5000, "nested"),
    (lambda text: '"\udc80"'.encode("utf-8", "surrogateescape").decode("latin-1"), "Baseline"),
    (_edit(lambda fields: fields.update(schema="urn:harden:robustness-baseline:v2")), "schema"),
    (_edit(lambda fields: fields.update(note="mine")), "Extra inputs"),
    (_edit(lambda fields: fields["checks"].update(b=fields["checks"]["linf 8/255 quick"])), "its own name"),
    (_edit(lambda fields: _robust(fields)["accuracy"].update(count=151)), "not 151/300"),
    (_edit(lambda fields: _robust(fields)["correct"].reverse()), "do not hold"),
    (_edit(lambda fields: _robust(fields)["correct"].__setitem__(0, "0" * 64)), "bits set"),
    (_edit(lambda fields: fields["checks"]["linf 8/255 quick"]["outcomes"].pop("clean")), "outcomes"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_damaged_file_is_said_in_one_line(tmp_path: Path, damage: Callable[[str], str], said: str) -> None:
    path = tmp_path / "baseline.json"
    update(path, check())
    path.write_text(damage(path.read_text()), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(BaselineError) as caught:
        read(path, "")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "restore it" in caught.value.instead
    with pytest.raises(BaselineError):
        update(path, check())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (setting(seed=1), ["seed (0 there, 1 here)"]),
        (setting(images="f" * 64, order="f" * 64), ["images or labels"]),
        (setting(order="f" * 64), ["order of the images"]),
        (setting(preprocessing="f" * 64), ["preprocessing"]),
        (setting(n=200, images="f" * 64), ["number of images (300 there, 200 here)", "images or labels"]),
        (setting("4/255"), ["threat model"]),
    ],
)
def test_what_differs_is_named(other: Setting, said: list[str]) -> None:
    found = differences(setting(), other)
    assert len(found) == len(said)
    for one, part in zip(found, said, strict=True):
        assert part in one
    assert differences(other, other) == ()


def test_another_attack_is_no_comparison() -> None:
    other = setting().model_copy(
        update={"attacks": AttackSetting(suite="quick", attempts={"apgd-ce": {"steps": 31}})}
    )
    with pytest.raises(BaselineError, match="attack specification other than in the baseline"):
        compared(check(), check(setting=other))


def test_pairs_go_by_image() -> None:
    clean, robust = compared(check(), check(robust=140, clean=285))[::-1]
    assert (clean.measure, clean.pairs.gained, clean.pairs.lost) == ("clean", 5, 0)
    assert (robust.measure, robust.pairs.gained, robust.pairs.lost) == ("robust", 0, 10)
    assert robust.remarks == ()


def test_other_versions_are_a_remark_and_what_is_broken_a_reason() -> None:
    found = compared(check(), check(versions={"harden": "0.2.0"}), broken=("masked",))
    assert found[0].broken == ("masked",)
    assert "harden 0.1.0 there, 0.2.0 here" in found[0].remarks[0]
    assert found[1].broken == found[1].remarks == ()


def test_a_step_down_needs_a_reason_which_stays(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    update(path, check(robust=150))
    before = path.read_bytes()
    with pytest.raises(RegressionError, match="robust accuracy 149 of 300 after 150") as caught:
        update(path, check(robust=149))
    assert caught.value.exit_code == 1
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="empty reason"):
        update(path, check(robust=149), " ")
    update(path, check(robust=149), "half the parameters")
    (step,) = read(path, "").checks["linf 8/255 quick"].accepted
    assert step.reason == "half the parameters"
    assert (step.before["robust"].count, step.after["robust"].count) == (150, 149)
    update(path, check(robust=160))
    assert read(path, "").checks["linf 8/255 quick"].accepted == (step,)


def test_lost_clean_accuracy_is_a_step_down_too(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    update(path, check())
    with pytest.raises(RegressionError, match="clean accuracy 279"):
        update(path, check(clean=279, robust=200))


def test_other_data_can_not_launder_a_regression(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    update(path, check())
    other = check(robust=200, setting=setting(images="f" * 64))
    with pytest.raises(RegressionError, match=r"can't be compared.*images or labels"):
        update(path, other)
    update(path, other, "the test set was cleaned")
    assert len(read(path, "").checks["linf 8/255 quick"].accepted) == 1


def test_the_same_result_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    update(path, check())
    before = path.read_bytes()
    update(path, check())
    assert path.read_bytes() == before


def test_two_that_write_wait_for_each_other(tmp_path: Path) -> None:
    """A thread each: none overwrites what another wrote, and who has no patience is told."""
    path, several = tmp_path / "baseline.json", [setting(f"{k}/255") for k in range(1, 7)]
    threads = [
        threading.Thread(target=update, args=(path, check(setting=one)), kwargs={"patience": 60.0})
        for one in several
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(path, "").checks) == len(several)
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with locked(tmp_path):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    with pytest.raises(HeldError):
        update(path, check())
    done.set()
    thread.join()


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        update(tmp_path / "none" / "baseline.json", check())
