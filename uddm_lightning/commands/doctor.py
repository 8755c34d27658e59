"""The command `uddm doctor`."""

import sys
import time
from collections.abc import Sequence

import torch

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.doctor.checks import Check, run_all_checks
from uddm_lightning.doctor.machine import machine_lines


def doctor(arguments: list[str]) -> int:
    """Run `uddm doctor` and return its exit status: 0 if every check has passed, else 1."""
    parser = CommandParser(
        prog="uddm doctor",
        description="Versions, devices, threads, and a self-check of some seconds against models whose answers are "
        "known exactly. Needs no data and no network.",
    )
    parser.parse_args(arguments)
    sys.stdout.write("\n".join(machine_lines()) + "\n\n")
    started = time.monotonic()
    found = run_all_checks()
    sys.stdout.write("\n".join(check_lines(found)) + "\n")
    failed = sum(not check.passed for _, check in found)
    verdict = f"{failed} of {len(found)} checks FAILED" if failed else f"all {len(found)} checks passed"
    sys.stdout.write(f"{verdict} in {time.monotonic() - started:.1f} s\n")
    return int(failed > 0)


def check_lines(found: Sequence[tuple[torch.device, Check]]) -> list[str]:
    """Return a table of the checks, one line each."""
    lines = [f"{'check':<58} {'device':<8} {'error':>9} {'tolerance':>9}"]
    for device, check in found:
        verdict = "pass" if check.passed else "FAIL"
        lines.append(f"{check.name:<58} {device!s:<8} {check.error:>9.2g} {check.tolerance:>9.2g}  {verdict}")
    return lines
