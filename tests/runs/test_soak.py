"""Random options and random kills: no traceback, no lost row, and the same numbers as an undisturbed run.

`UDDM_SOAK_CYCLES=100 UDDM_SOAK_SEED=0 pytest -m bar -n 0 -s tests/runs/test_soak.py`

UDDM_SOAK_FIRST is the first cycle, to repeat a failure; a cycle depends on its number and the seed only.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.support.command_line import anonymous_table, tiny_config, write_corpus
from tests.support.ranks import CORES, Job, Parent, parts
from tests.support.results import write_results

CYCLES = int(os.environ.get("UDDM_SOAK_CYCLES", "100"))
SEED = int(os.environ.get("UDDM_SOAK_SEED", "0"))
FIRST = int(os.environ.get("UDDM_SOAK_FIRST", "0"))  # number of the first cycle

STEPS, PERIOD = 12, 4
# Excluded options: folders, classes, and options that never end, start other processes, save nothing, or depend on the
# clock.
KEPT = re.compile(
    r"^(config|print_config|help|out|text|ckpt_path|threads|optimizer|lr_scheduler"
    r"|model\.(compile|vocab_size|seed|process|backbone|objective|sampler|optimizer|lr_schedule)"
    r"|data\.(text|seed|cache_dir|source|tokenizer|packing|num_workers|vocab_size)"
    r"|trainer\.(accelerator|devices|num_nodes|strategy|callbacks|logger|plugins|profiler|default_root_dir|max_time"
    r"|max_steps|fast_dev_run|enable_progress_bar|model_registry|barebones|detect_anomaly|inference_mode|precision)"
    r")(\.|$)"
)
NUMBERS = {"int": ("0", "1", "2", "4", "7", "8", "-1"), "float": ("0.0", "0.1", "0.5", "1.0", "2.0", "-0.5", "nan")}


class Option(NamedTuple):
    """An option of `uddm fit --help` with values to try."""

    name: str
    values: tuple[str, ...]


class Cycle(NamedTuple):
    """One cycle: its folder, its random options, and the moments of its kills."""

    folder: Path
    options: list[str]
    event: list[Any]


def options() -> list[Option]:
    """Return the options in the help of the command."""
    command = [sys.executable, "-m", "uddm_lightning", "fit", "--help"]
    text = subprocess.run(
        command, env={**os.environ, "COLUMNS": "400"}, capture_output=True, text=True, check=True
    ).stdout
    found = []
    for name, about in re.findall(r"^\s+(?:-\w[^,]*, )?--([\w.]+)(?!\S)(.*(?:\n\s{20,}\S.*)*)", text, re.M):
        kind = re.search(r"type: (.*?)(?:, default|\))", about)
        given = kind[1] if kind else about
        values: list[str] = []
        for word, numbers in NUMBERS.items():
            values += numbers if re.search(rf"\b{word}\b", given) else ()
        values += ["true", "false"] if re.search(r"\bbool\b|\{true,false\}", given) else []
        values += re.findall(r"'([\w-]+)'", given)
        choices = re.match(r"\s*\{([\w,.-]+)\}", about)
        values += choices[1].split(",") if choices else []
        values += ["null"] if re.search(r"\bNone\b|null", given) else []
        if given.startswith(("Sequence", "list", "collections.abc.Sequence")):
            values = [f"[{value}]" for value in values]
        if values and not KEPT.match(name):
            found.append(Option(name, tuple(dict.fromkeys(values))))
    return found


def draw(number: int, folder: Path, offered: list[Option]) -> Cycle:
    """Draw a cycle by its number, independent of the others."""
    dice = random.Random(f"{SEED}-{number}")  # noqa: S311 no secret is made here
    chosen = dice.sample(offered, dice.choice((1, 1, 2, 3)))
    words = [f"--{option.name}={dice.choice(option.values)}" for option in chosen]
    saving = ("within saving", dice.randint(1, 3))
    moments = (("step", dice.randrange(STEPS)), ("validation", dice.randint(1, 24)), saving)
    event = [*dice.choice(moments), dice.choice(("kill", "kill", "interrupt", "terminate")), ""]
    return Cycle(folder / f"cycle-{number}", words, event)


def check_said(job: Job) -> None:
    """Check that there is one message and no traceback."""
    (out,) = job.out
    about = f"{job.status} {job.name}: {' '.join(job.arguments)}\n{out[-3000:]}"
    assert "Traceback" not in out, about
    assert "enforce fail" not in out, about
    if job.status[0] in (1, 2):
        said = [line for line in out.splitlines() if line.startswith(("uddm: error: ", "uddm: stopped"))]
        assert len(said) == 1, about
    else:
        assert job.status[0] in (0, -9, 143), about


def check_equal(cycle: Cycle) -> None:
    """Check that tables, weights, optimizer and learning rate equal those of the undisturbed run, bit for bit."""
    calm, out = cycle.folder / "calm" / "run", cycle.folder / "killed" / "run"
    assert anonymous_table(calm) == anonymous_table(out), "measurements.csv"
    last = Path("checkpoints") / "last.ckpt"
    here, there = (torch.load(folder / last, weights_only=True) for folder in (calm, out))
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        mine, theirs = parts(here[name]), parts(there[name])
        assert mine.keys() == theirs.keys(), name
        for key, value in mine.items():
            same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
            assert same, key
    for name in ("sequences.parquet", "rows.parquet", "basins.parquet"):
        if (calm / name).exists() or (out / name).exists():
            assert pq.read_table(calm / name).equals(pq.read_table(out / name)), name
    assert not [path for path in out.rglob(".*") if path.is_file()], "temporary files are left"


def live(cycle: Cycle, parent: Parent, settings: Path) -> list[str]:
    """Run the stages of a cycle and return its outcome.

    Raises:
        AssertionError: a check failed.
    """
    calm, out = cycle.folder / "calm" / "run", cycle.folder / "killed" / "run"

    def stage(name: str, *words: object, event: list[Any] | None = None) -> int:
        job = Job(name, [str(word) for word in words], event=event or [])
        parent.run(cycle.folder / "logs", job)
        check_said(job)
        if name not in ("calm", "killed"):
            assert job.status == [0], f"{job.status} {name}: {' '.join(job.arguments)}\n{job.out[0][-3000:]}"
        return job.status[0]

    status = stage("calm", "fit", "-c", settings, "--out", calm, *cycle.options)
    if status == 2:
        left = [path.name for path in (cycle.folder / "calm").rglob("*") if path.suffix in (".ckpt", ".csv", ".0")]
        assert not left, f"refused after training had begun, and {left} left behind"
    if status:
        return ["refused" if status == 2 else "stopped"]
    status = stage("killed", "fit", "-c", settings, "--out", out, *cycle.options, event=cycle.event)
    words = ["-c", out / "config.yaml", "--ckpt_path", "last"]
    if not (out / "checkpoints" / "last.ckpt").exists():
        words = ["-c", settings, "--out", out, *cycle.options]
    stage("again", "fit", *words)
    check_equal(cycle)
    stage("validate", "validate", "-c", out / "config.yaml", "--ckpt_path", "last")
    check_equal(cycle)
    stage("report", "report", cycle.folder / "killed")
    check_equal(cycle)
    return ["trained", "killed" if status else "not reached", "equal", "validated", "reported"]


@pytest.mark.bar
@pytest.mark.timeout(3600)
def test_soak(tmp_path: Path) -> None:
    settings = tiny_config(write_corpus(tmp_path / "corpus.txt"), on_the_way=True)
    settings["trainer"] |= {"max_steps": STEPS, "val_check_interval": PERIOD}
    (tmp_path / "soak.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    offered, parent, started = options(), Parent(), time.monotonic()
    assert len(offered) > 40
    lines: list[dict[str, object]] = []
    faults: list[str] = []

    def one(number: int) -> None:
        cycle, begun = draw(number, tmp_path, offered), time.monotonic()
        try:
            ends = live(cycle, parent, tmp_path / "soak.yaml")
        except AssertionError as error:
            ends = ["fault"]
            faults.append(f"cycle {number}: {cycle.options} {cycle.event[:3]}\n{error}\n")
            sys.stdout.write(faults[-1])
        moment, turn, act, _ = cycle.event
        line = {"cycle": number, "options": " ".join(cycle.options), "moment": moment, "turn": turn, "act": act}
        lines.append({**line, "ends": " ".join(ends), "seconds": round(time.monotonic() - begun, 1)})
        sys.stdout.write(f"{lines[-1]}\n")
        sys.stdout.flush()

    with ThreadPoolExecutor(CORES) as side_by_side:
        list(side_by_side.map(one, range(FIRST, FIRST + CYCLES)))
    kinds = Counter(end for line in lines for end in str(line["ends"]).split())
    about = ", ".join(f"{count} {end}" for end, count in kinds.items())
    said = f"{CYCLES} cycles, seed {SEED}, {time.monotonic() - started:.0f} s: {about}"
    sys.stdout.write(f"{said}\n")
    command = f"UDDM_SOAK_CYCLES={CYCLES} UDDM_SOAK_SEED={SEED} pytest -m bar -n 0 -s tests/runs/test_soak.py"
    if not FIRST:
        write_results("soak.csv", command, sorted(lines, key=lambda line: int(str(line["cycle"]))), said)
    assert not faults, f"{said}\n" + "\n".join(faults)
    assert kinds["trained"] > CYCLES // 4
