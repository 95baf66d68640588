"""The pytest plugin: a fixture that gates a model on the committed baseline; inert where no test uses it.

Found by its entry point, it is imported in every session: so nothing of harden, torch or scipy at the top.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import pytest

if TYPE_CHECKING:
    from harden.regression.verdict import Comparison, Rule, Verdict
    from harden.threats import Threat

_MARKER = (
    "harden(margin=0.02, alpha=0.05, floor=None, clean_floor=None): the rule of robustness.check; shares of 1"
)
_FOUND, _NAME, _BACKEND = "harden.found", "harden.check", "harden.backend"
_PATIENCE = 120.0  # seconds of patience for another worker that updates the same baseline


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all off."""
    group = parser.getgroup("harden", "robustness regression checks")
    group.addoption(
        "--harden-baseline",
        metavar="FILE",
        default="robustness-baseline.json",
        help="The committed baseline.",
    )
    group.addoption(
        "--harden-update-baseline", action="store_true", help="Write what is measured into the baseline."
    )
    group.addoption(
        "--harden-accept-regression", metavar="WHY", help="With an update: why a step down is accepted."
    )
    group.addoption("--harden-allow-missing", action="store_true", help="Skip a check that has no baseline.")
    group.addoption(
        "--harden-inconclusive", choices=("warn", "fail"), default="warn", help="What INCONCLUSIVE does."
    )
    group.addoption(
        "--harden-max-images", type=int, default=0, metavar="N", help="Check on a fixed sample of N images."
    )
    group.addoption(
        "--harden-black-box", action="store_true", help="Do not read graphs, query the scores of files alone."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and collect the findings of all tests."""
    config.addinivalue_line("markers", _MARKER)
    # A worker of xdist has a summary of its own, which nobody sees: the controller writes it for all.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collected(config), "harden-collected")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the baseline and versions, where there is a baseline or one is made."""
    path = _baseline(config)
    if not path.exists() and not config.getoption("harden_update_baseline"):
        return None
    from harden.system.package_metadata import versions

    used = ", ".join(
        f"{name} {number}" for name, number in versions(("harden", "torch", "onnxruntime")).items()
    )
    return f"robustness: {config.getoption('harden_baseline')}; {used}"


@pytest.fixture
def robustness(request: pytest.FixtureRequest, tmp_path: Path) -> Robustness:
    """Gate a model: robustness.check(model_or_onnx, data, threat=..., attacks="quick")."""
    return Robustness(request.node, tmp_path)


@final
class Robustness:
    """The fixture `robustness`: compares a model with the committed baseline.

    Args:
        item: the test.
        folder: where a torch model is exported to.
    """

    def __init__(self, item: pytest.Item, folder: Path) -> None:
        self._item, self._folder = item, folder

    def check(
        self,
        model: object,
        data: object,
        *,
        threat: Threat,
        attacks: str = "standard",
        name: str | None = None,
        black_box: bool = False,
    ) -> Verdict | None:
        """Attack a model and compare it with the baseline, image by image; fails the test where it regressed.

        Args:
            model: an ONNX file (a path), or a torch network or Classifier, which is exported and gated as
                the file that it becomes.
            data: a data spec such as "digits" (its test images), Examples, (x, y) or a DataLoader.
            threat: harden.Linf("8/255"), for instance.
            attacks: standard, thorough, quick or pgd.
            name: its label in the baseline; the test's own id by default, "" for the checks of
                `harden check`.
            black_box: leave the file's graph unread and query it for scores alone, as for a file with
                operators that have no rule.

        Returns:
            The verdict, or None where the baseline was updated.
        """
        from harden.errors import HardenError
        from harden.printable_text import log_line
        from harden.regression.pytest_checks import PytestCheck

        option = self._item.config.getoption
        try:
            rule = _rule(self._item)
            found = PytestCheck(
                path=_baseline(self._item.config),
                label=self._item.nodeid if name is None else name,
                sample=int(str(option("harden_max_images"))),
                command=_update_command(self._item),
                black_box=black_box or bool(option("harden_black_box")),
            )
            self._note(_BACKEND, found.backend())
            if option("harden_update_baseline"):
                measurer = found.measurer(model, data, self._folder)
                said = found.updated(measurer, threat, attacks, option("harden_accept_regression"), _PATIENCE)
                self._note(_FOUND, json.dumps({"updated": said}))
                return None
            before = found.known(threat, attacks, bool(option("harden_allow_missing")))
            if before is None:
                pytest.skip(log_line(f"no baseline for {found.name(threat, attacks)}"))
            measurer = found.measurer(model, data, self._folder)
            return self._judged(found.comparisons(measurer, before, threat, attacks), rule, before.name)
        except HardenError as error:
            said = str(error)
        pytest.fail(log_line(said), pytrace=False)  # outside of the handler, or the report has it twice

    def _judged(self, comparisons: tuple[Comparison, ...], rule: Rule, name: str) -> Verdict:
        from harden.regression.comparison_json import packed
        from harden.regression.reports.verdict_text import as_text
        from harden.regression.verdict import GateAnswer, judge

        verdict = judge(comparisons, rule)
        self._note(_NAME, name)
        for finding in verdict.findings:
            pairs, measure = finding.comparison.pairs, finding.comparison.measure
            self._note(f"harden.{measure}.state", str(finding.state))
            self._note(f"harden.{measure}.before", pairs.before.value)
            self._note(f"harden.{measure}.now", pairs.now.value)
            self._note(f"harden.{measure}.n", pairs.n)
        self._note(_FOUND, json.dumps({"name": name, **packed(comparisons, rule)}))
        strict = self._item.config.getoption("harden_inconclusive") == "fail"
        if verdict.exit_code(strict):
            pytest.fail(as_text(verdict), pytrace=False)
        if verdict.state is GateAnswer.INCONCLUSIVE:
            self._note("harden.inconclusive", "true")
        return verdict

    def _note(self, key: str, value: object) -> None:
        # In the report, which travels from a worker of xdist to where the summary is written.
        self._item.user_properties.append((key, value))


@final
class _Collected:
    """Findings of all tests, in the process that reports the session: the only one, or xdist's controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._found: list[dict[str, Any]] = []
        self._backends: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's findings out of its report."""
        if report.when == "call":
            for key, value in report.user_properties:
                if key == _FOUND:
                    self._found.append(json.loads(str(value)))
                elif key == _BACKEND:
                    self._backends.add(str(value))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write a section, and GitHub's summary."""
        if not self._found:
            return
        from harden.printable_text import log_line
        from harden.regression.comparison_json import unpacked
        from harden.regression.reports.github_actions import append_summary
        from harden.regression.reports.verdict_text import as_markdown, as_text

        terminalreporter.section("robustness")
        for backend in sorted(self._backends):
            terminalreporter.line(log_line(f"kernels: {backend}"))
        for each in self._found:
            if "updated" in each:
                terminalreporter.line(log_line(f"updated: {each['updated']}"))
                continue
            verdict = unpacked(each)
            terminalreporter.line(as_text(verdict))
            append_summary(as_markdown(verdict))
        for name in self._unused():
            terminalreporter.line(log_line(f"not checked in this session: {name}"))

    def _unused(self) -> list[str]:
        from harden.errors import HardenError
        from harden.regression.baseline import read

        used = {each.get("name", each.get("updated", "").partition(" -> ")[0]) for each in self._found}
        try:
            return sorted(set(read(_baseline(self._config), "").checks) - used)
        except HardenError:  # each test has said so
            return []


def _baseline(config: pytest.Config) -> Path:
    return config.rootpath / str(config.getoption("harden_baseline"))


def _update_command(item: pytest.Item) -> str:
    words = ["pytest", item.nodeid, "--harden-update-baseline"]
    for option, default in (("harden_baseline", "robustness-baseline.json"), ("harden_max_images", 0)):
        value = item.config.getoption(option)
        if value != default:
            words += ["--" + option.replace("_", "-"), str(value)]
    words += ["--harden-black-box"] if item.config.getoption("harden_black_box") else []
    return f"run `{shlex.join(words)}` on the model to keep, and commit the file"


def _rule(item: pytest.Item) -> Rule:
    from harden.errors import InputError
    from harden.regression.verdict import Rule

    # The closest marker first: one of a test goes before one of its class or module.
    given: dict[str, Any] = {}
    for marker in item.iter_markers("harden"):
        given = {**marker.kwargs, **given}
        if marker.args:
            raise InputError("a harden marker with values alone", "names", "write harden(margin=0.02)")
    other = sorted(set(given) - {"margin", "alpha", "floor", "clean_floor"})
    if other:
        raise InputError(
            f"a harden marker with {', '.join(other)}", "margin, alpha, floor or clean_floor", "rename it"
        )
    floors = (("robust", given.get("floor")), ("clean", given.get("clean_floor")))
    least = tuple((name, float(share)) for name, share in floors if share is not None)
    return Rule(float(given.get("margin", 0.02)), float(given.get("alpha", 0.05)), least)
