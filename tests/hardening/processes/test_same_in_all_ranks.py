"""Differences between the processes of a run are named."""

from __future__ import annotations

from harden.hardening.processes.same_in_all_ranks import check_same_run
from harden.system.ranks import ALONE
from tests.processes import ended, started
from tests.training.several.cases import network

PROGRAM = """
import sys
from harden.errors import InputError
from harden.hardening.processes import same_in_all_ranks
from harden.system.ranks import joined
from tests.training.several.cases import network

ranks = joined()
same_in_all_ranks.check_same_run({"seed": 1}, network(), ranks)
if ranks.rank == 1:
    same_in_all_ranks.code_digest = lambda parts: "other"
try:
    same_in_all_ranks.check_same_run({"seed": ranks.rank, "data": {"sha256": "a"}}, network(), ranks)
except InputError as error:
    sys.stdout.write(str(error))
"""


def test_other_code_and_options_are_named_in_every_process() -> None:
    for code, said, wrong in ended(started(["-c", PROGRAM], 2)):
        assert (code, wrong) == (0, "")
        assert said.startswith(
            "process 1 of 2, which differs from the first one in code.harden, seed; expected"
        )


def test_one_process_is_not_compared() -> None:
    check_same_run({"seed": 1}, network(), ALONE)
