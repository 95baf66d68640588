"""harden run --dry-run: the inputs of a run, and an estimate of its cost."""

from __future__ import annotations

from dataclasses import asdict

from harden.cli.commands.run import fitted
from harden.cli.loading.prepare_run import prepare
from harden.cli.options.run_options import RunOptions
from harden.cli.output.console import print_kernels, say, say_table, write_json
from harden.cli.output.run_inputs_table import inputs_as_json, print_inputs, print_trial_export
from harden.hardening.certified_run import trial_export
from harden.hardening.cost_estimate import RunEstimate, estimate
from harden.hardening.run_inputs import RunInputs
from harden.system.single_process import check_alone


def dry_run(options: RunOptions) -> int:
    """Print what `harden run` would do and cost; train on a copy, write nothing but --json."""
    check_alone()
    inputs = fitted(prepare(options), None)
    print_inputs(options, inputs)
    print_kernels(inputs.settings.device)
    export = trial_export(inputs)
    print_trial_export(export, proofs=inputs.settings.search is not None)
    _print_options(options)
    expected = estimate(inputs)
    _print_estimate(expected, inputs)
    suite = options.suite
    write_json(
        options.json_file,
        {
            **inputs_as_json(options, inputs),
            "options": dict(options.origins),
            "evaluation": {
                "attacks": suite.attacks,
                "steps": suite.steps,
                "restarts": suite.restarts,
                "bfloat16": options.bfloat16,
            },
            "estimate": expected.as_json(),
            "export": asdict(export),
        },
    )
    return 0


def _print_options(options: RunOptions) -> None:
    """Print the origin of the options, where a file was given."""
    if options.config is None:
        return
    for word, text in (("file", str(options.config)), ("flag", "the command line, before the file")):
        names = sorted(name for name, of in options.origins.items() if of == word and name != "config")
        said = ", ".join(name.removesuffix("_file") for name in names)
        say(f"{'options':10}from {text}: {said or 'none'}")


def _print_estimate(expected: RunEstimate, inputs: RunInputs) -> None:
    say()
    say("an estimate, from a few steps on a copy; other work on this machine changes it")
    rows = []
    for part in expected.parts:
        most = "at most " if part.bound else ""
        costs = (f"{most}{part.passes:,.0f}", f"{part.passes_per_second:,.0f}", f"{most}{part.seconds:,.0f}")
        rows.append((part.name, *costs))
    rows.append(("in all", f"{expected.passes:,.0f}", "", f"{expected.seconds:,.0f}"))
    say_table(("stage", "passes", "passes/s", "seconds"), rows, right_from=1)
    where = "on the device" if inputs.settings.device.type == "cuda" else "of this process, at least"
    say(f"memory {expected.memory / 2**20:,.0f} MiB {where}, in batches of {inputs.batch_size}")
    say("nothing was written; without --dry-run the run begins")
