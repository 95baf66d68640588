"""One process needs no others; several exchange sums and values, and end in one line where one is lost."""

from __future__ import annotations

import pytest
import torch

from harden.errors import InputError
from harden.system import ranks
from harden.system.ranks import ALONE, Ranks, check_divides, check_writer, joined, own_device
from tests.processes import ended, started

PROGRAM = """
import sys, torch
from harden.errors import HardenError, InputError
from harden.system.first_report import is_first_report
from harden.system.ranks import Ranks, joined

ranks = joined()
assert ranks == Ranks(ranks.rank, 2) and ranks == joined() and ranks.several
assert ranks.total(ranks.rank + 0.5) == 2.0
assert ranks.of_main(7.5 - ranks.rank) == 7.5
assert ranks.every({"rank": ranks.rank}) == [{"rank": 0}, {"rank": 1}]
assert ranks.on_main(lambda: ranks.rank) == 0
try:
    ranks.on_main(lambda: (_ for _ in ()).throw(InputError("a", "b", "c")))
except InputError as error:
    assert str(error) == "a; expected b; c"
weights = [torch.zeros(2, 3), torch.zeros(4), torch.zeros(1), torch.zeros(2, dtype=torch.float64)]
own = [torch.full((2, 3), 1.0 + ranks.rank), None if ranks.rank else torch.ones(4), None]
own.append(torch.ones(2).double())
summed = ranks.add_gradients(own, weights)
assert torch.equal(summed[0], torch.full((2, 3), 3.0)) and torch.equal(summed[1], torch.ones(4))
assert summed[2] is None and summed[3].dtype == torch.float64 and summed[3].tolist() == [2.0, 2.0]
if ranks.rank == 1:
    sys.exit(3)
try:
    ranks.total(1.0)
except HardenError as error:
    sys.stdout.write(f"{type(error).__name__} {is_first_report()} {is_first_report()} {error}")
"""


def test_processes_exchange_and_notice_that_one_is_lost() -> None:
    (code, said, wrong), (other, nothing, silence) = ended(started(["-c", PROGRAM], 2))
    assert (code, wrong, other, nothing, silence) == (0, "", 3, "", "")
    # The first to report is one; the second question is that of another process.
    assert said.startswith("LostProcessError True False no answer of another of the 2 processes (")
    assert said.count("; ") >= 2


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert joined() is ALONE
    tensor = torch.ones(2)
    assert ALONE.add_(tensor) is tensor
    assert (ALONE.total(0.1), ALONE.of_main(0.2), ALONE.every(3), ALONE.on_main(lambda: 4)) == (
        0.1,
        0.2,
        [3],
        4,
    )
    assert ALONE.add_gradients([tensor, None], [tensor, tensor])[0] is tensor
    assert (ALONE.is_main, ALONE.several, ALONE.part(5)) == (True, False, (0, 5))
    check_writer(ALONE)
    check_divides(1, ALONE)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9])
def test_parts_are_contiguous_and_of_nearly_one_size(n: int) -> None:
    parts = [Ranks(rank, 4).part(n) for rank in range(4)]
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == n
    sizes = [stop - start for start, stop in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("batch", "size", "instead"), [(33, 2, 32), (2, 2, 4), (5, 4, 8), (100, 3, 99)])
def test_batches_that_can_not_be_divided_are_refused(batch: int, size: int, instead: int) -> None:
    with pytest.raises(InputError, match=f"batches of {batch} images for {size} processes") as refused:
        check_divides(batch, Ranks(0, size))
    assert f"--batch-size {instead}," in refused.value.instead
    check_divides(instead, Ranks(0, size))


def test_the_first_process_writes() -> None:
    with pytest.raises(InputError, match="process 1 of 2"):
        check_writer(Ranks(1, 2))


def test_devices_without_several_processes_are_those_given() -> None:
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    assert own_device(torch.device("cuda:1")) == torch.device("cuda:1")


def test_another_precision_of_accelerate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    for code, _, said in ended(started(["-c", "from harden.system.ranks import joined\njoined()"], 2)):
        assert code == 1
        assert "InputError: accelerate set to bf16 precision" in said


def test_process_0_leaves_the_others_time_to_count_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of the count ends with process 0: without this the others would report as well."""
    counted = [0]

    def add(count: int) -> int:
        counted[0] += count
        return counted[0]

    def other(_: float) -> None:
        assert not ranks._is_first(add, 1, 2)

    monkeypatch.setattr("harden.system.ranks.time.sleep", other)
    assert ranks._is_first(add, 0, 2)
    assert counted == [2]


def test_process_0_gives_up_others_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_GRACE", 0.05)
    assert ranks._is_first(lambda count: count or 1, 0, 2)
