"""Groups: from every way in, whole in every split, never in training and test at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from harden.data import Examples, Splits, from_loader, load, split
from harden.data.sources.in_memory import ExamplesSource
from harden.data.splits.groups import group_numbers, join_groupings
from harden.errors import InputError

Arrays = dict[str, NDArray[Any]]


def unlike(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


class Tracks(TensorDataset):
    """40 images of four classes, in tracks of four."""

    def __init__(self, names: bool = False) -> None:
        super().__init__(unlike(40), torch.arange(40) // 4 % 4)
        self.groups = [f"track {k // 4}" for k in range(40)] if names else np.arange(40) // 4


def tracks_of(source: Any) -> set[int]:
    every = unlike(40).flatten(1)
    seen = torch.cat([batch.x for batch in source.epoch(None)]).flatten(1)
    return {int((every == row).all(1).nonzero()[0, 0]) // 4 for row in seen}


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("way", ["dataset", "subset", "concat", "argument", "examples", "batches"])
def test_held_out_groups_are_whole(way: str, names: bool) -> None:
    data = Tracks(names)
    x, y = data.tensors
    by_argument = {
        "argument": TensorDataset(x, y),
        "examples": Examples(x, y, tuple("abcd")),
        "batches": [(x, y)],
    }
    if way in by_argument:
        source = from_loader(by_argument[way], groups=data.groups)
    elif way == "concat":
        parts = [Subset(data, range(8)), Subset(data, range(8, 40))]
        source = from_loader(DataLoader(ConcatDataset(parts), batch_size=8))
    else:
        source = from_loader(data if way == "dataset" else Subset(data, range(40)))
    rest, held = source.hold_out(0.2, 0)
    mine, others = tracks_of(held), tracks_of(rest)
    assert mine
    assert not mine & others
    assert mine | others == set(range(10))
    inner, _ = rest.hold_out(0.3, 1)
    assert tracks_of(inner) < others


def test_groups_follow_their_examples() -> None:
    examples = Examples(
        unlike(6), torch.arange(6) % 2, ("a", "b"), groups=torch.tensor([9, 9, 4, 4, 7, 7]).int()
    )
    part = examples.take(torch.tensor([5, 0, 2]))
    assert part.groups is not None
    assert part.groups.tolist() == [7, 9, 4]
    assert part.groups.dtype == torch.int64


def test_a_split_reads_the_groups_of_its_examples() -> None:
    data = Tracks()
    x, y = data.tensors
    numbers = torch.arange(40) // 4
    examples = Examples(x, y, tuple("abcd"), groups=numbers)
    for groups in (None, numbers):
        rest, held = split(examples, 0.3, 4, groups)
        assert not tracks_of(ExamplesSource(held, 8)) & tracks_of(ExamplesSource(rest, 8))


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (torch.zeros(3, dtype=torch.int64), r"groups of shape \(3,\) for 6"),
        (torch.zeros(6), "groups of type float32.*groups.long"),
        (torch.zeros(6, dtype=torch.bool), "groups of type bool"),
    ],
)
def test_examples_refuse_groups_that_are_none(groups: Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Examples(unlike(6), torch.arange(6) % 2, ("a", "b"), groups=groups)


def test_a_made_source_takes_no_groups() -> None:
    source = from_loader(Tracks())
    with pytest.raises(InputError, match="groups for a source"):
        from_loader(source, groups=[0] * 40)


def test_a_group_in_training_and_test_is_refused() -> None:
    def part(groups: list[int] | None, seed: int) -> Examples:
        numbers = None if groups is None else torch.tensor(groups)
        return Examples(unlike(3, seed), torch.tensor([0, 1, 1]), ("a", "b"), groups=numbers)

    with pytest.raises(InputError, match=r"1 of the groups.*training image 1 and test image 2"):
        Splits(part([5, 6, 6], 0), part([1, 2, 6], 1), "s")
    Splits(part([5, 6, 6], 0), part([1, 2, 2], 1), "s")
    Splits(part([5, 6, 6], 0), part(None, 1), "s")


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=40).flatmap(
        lambda one: st.tuples(st.just(one), st.lists(st.integers(0, 8), min_size=len(one), max_size=len(one)))
    )
)
def test_joining_is_the_finest_grouping_that_keeps_both(both: tuple[list[int], list[int]]) -> None:
    one, other = (np.array(part, dtype=np.int64) for part in both)
    parts = join_groupings(one, other)
    # By hand: walk from example to example through shared groups.
    reached = {k: {k} for k in range(len(one))}
    for start, seen in reached.items():
        todo = [start]
        while todo:
            at = todo.pop()
            near = np.flatnonzero((one == one[at]) | (other == other[at])).tolist()
            todo += [k for k in near if k not in seen]
            seen.update(near)
    for k, seen in reached.items():
        assert set(np.flatnonzero(parts == parts[k]).tolist()) == seen


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.array([0.5, 1.0]), "float64"),
        (np.array([["a", "b"]]), r"shape \(1, 2\)"),
        (np.array([None, "a"]), "NoneType and str in one column"),
    ],
)
def test_groups_are_integers_or_strings(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        group_numbers([value], ["mine"])
    with pytest.raises(InputError, match="integers in one and strings in the other"):
        group_numbers([[1, 2], ["1", "2"]], ["group_train", "group_test"])


@pytest.fixture
def arrays() -> Arrays:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(12) // 2 % 3,
        "x_test": random.integers(0, 256, (6, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(6) % 3,
        "group_train": np.array([f"p{k // 2}" for k in range(12)]),
        "group_test": np.array([f"q{k // 2}" for k in range(6)]),
        "x_unlabelled": random.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8),
    }


def save(folder: Path, arrays: Arrays) -> str:
    np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]
    return f"npz:{folder / 'set.npz'}"


def check(splits: Splits) -> None:
    assert splits.train.groups is not None
    assert splits.test.groups is not None
    assert len(set(splits.train.groups.tolist())) == 6
    assert len(set(splits.test.groups.tolist())) == 3
    assert splits.unlabelled is not None
    assert splits.unlabelled.y.tolist() == [-1] * 4
    assert splits.unlabelled.classes == ()


def test_npz_brings_groups_and_images_without_labels(tmp_path: Path, arrays: Arrays) -> None:
    check(load(save(tmp_path, arrays)))
    arrays["group_train"], arrays["group_test"] = np.arange(12) // 2, 10 + np.arange(6) // 2
    check(load(save(tmp_path, arrays)))
    arrays["group_test"] = np.arange(6) // 2
    with pytest.raises(InputError, match="3 of the groups"):
        load(save(tmp_path, arrays))
    del arrays["group_test"]
    assert load(save(tmp_path, arrays)).test.groups is None
    arrays["x_unlabelled"] = arrays["x_unlabelled"][:, :5]
    with pytest.raises(InputError, match="unlabelled images of"):
        load(save(tmp_path, arrays))


def test_a_function_brings_them_as_dict_or_tuple(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, arrays)
    (tmp_path / "brings_groups.py").write_text(
        "import numpy as np\n"
        "stored = dict(np.load('set.npz'))\n"
        "def as_dict(): return stored | {'classes': None}\n"
        "def as_tuple(): return tuple(stored.values())\n"
        "def six(): return (*tuple(stored.values())[:5], None)\n"
    )
    monkeypatch.chdir(tmp_path)
    check(load("brings_groups:as_dict"))
    check(load("brings_groups:as_tuple"))
    six = load("brings_groups:six")
    assert six.train.groups is not None
    assert six.test.groups is None
    sys.modules.pop("brings_groups")


def draw_png(file: Path, shade: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), shade, np.uint8)).save(file)


def test_subfolders_of_a_class_are_groups(tmp_path: Path) -> None:
    for k in range(24):
        draw_png(tmp_path / "ab"[k % 2] / f"patient {k // 4}" / f"{k}.png", k)
    draw_png(tmp_path / "unlabelled" / "deep" / "u.png", 200)
    splits = load(f"folder:{tmp_path}")
    assert splits.train.classes == ("a", "b")
    assert splits.unlabelled is not None
    assert len(splits.unlabelled) == 1
    shades = [{int(shade) // 4 for shade in part.x[:, 0, 0, 0]} for part in (splits.train, splits.test)]
    assert len(shades[0]) + len(shades[1]) == 6
    assert not shades[0] & shades[1]


def test_subfolders_in_both_parts_and_layouts_that_are_no_groups(tmp_path: Path) -> None:
    for k in range(8):
        draw_png(tmp_path / ("train", "test")[k // 4] / "ab"[k % 2] / f"p{k // 2}" / f"{k}.png", k)
    splits = load(f"folder:{tmp_path}")
    assert splits.train.groups is not None
    assert splits.test.groups is not None
    draw_png(tmp_path / "test" / "a" / "p0" / "more.png", 50)
    with pytest.raises(InputError, match=r"groups in training are in test too.*patient, track, subfolder"):
        load(f"folder:{tmp_path}")
    # One file next to the subfolders: they are no grouping of the test images.
    draw_png(tmp_path / "test" / "a" / "beside.png", 51)
    assert load(f"folder:{tmp_path}").test.groups is None


def test_one_folder_name_for_all_images_is_a_layout(tmp_path: Path) -> None:
    for k in range(12):
        draw_png(tmp_path / ("train", "test")[k // 6] / "ab"[k % 2] / "images" / f"{k}.png", k)
    splits = load(f"folder:{tmp_path}")
    assert splits.train.groups is None
    assert splits.test.groups is None
