"""Random options, random kills: nothing ends in a traceback, no row is lost, and nothing differs from a calm run.

`UDDM_SOAK_CYCLES=100 UDDM_SOAK_SEED=0 pytest -m bar -n 0 -s tests/cli/test_soak.py`
"""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from .conftest import tiny_config, write_corpus
from .ranks import Job, run
from .test_processes import table
from .test_restart import parts

CYCLES = int(os.environ.get("UDDM_SOAK_CYCLES", "100"))
SEED = int(os.environ.get("UDDM_SOAK_SEED", "0"))
GROUP = 10  # cycles whose runs are forked from one parent

STEPS, PERIOD, BATCHES = 12, 4, 8
# Options that are not drawn: where a run lies, what it is made of (classes), what would never end, start other
# processes, leave nothing behind, or depend on the clock.
KEPT = re.compile(
    r"^(config|print_config|help|out|text|ckpt_path|threads|optimizer|lr_scheduler"
    r"|model\.(compile|vocab_size|seed|process|backbone|objective|sampler|optimizer|learning_rate)"
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
    """One cycle: its folder, the options that were drawn, and when its run is killed."""

    folder: Path
    options: list[str]
    event: list[Any]

    def job(self, stage: str, *words: object) -> Job:
        return Job(f"{self.folder.name}-{stage}", [str(word) for word in words])


def options() -> list[Option]:
    """What the command's own help offers."""
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


def draw(dice: random.Random, folder: Path, offered: list[Option]) -> Cycle:
    chosen = dice.sample(offered, dice.choice((1, 1, 2, 3)))
    words = [f"--{option.name}={dice.choice(option.values)}" for option in chosen]
    saving = ("within saving", dice.randint(1, 3))
    moments = (("step", dice.randrange(STEPS)), ("validation", dice.randint(1, 24)), saving)
    return Cycle(folder, words, [*dice.choice(moments), dice.choice(("kill", "kill", "interrupt", "terminate")), ""])


def check_said(cycle: Cycle, job: Job) -> None:
    """One message, and no report of the program about itself."""
    (out,) = job.out
    about = f"{job.name}: {' '.join(job.arguments)}\n{out[-3000:]}"
    assert "Traceback" not in out, about
    assert "enforce fail" not in out, about
    if job.status[0] in (1, 2):
        said = [line for line in out.splitlines() if line.startswith(("uddm: error: ", "uddm: stopped"))]
        assert len(said) == 1, about
    else:
        assert job.status[0] in (0, -9, 143), about


def check_equal(cycle: Cycle) -> None:
    calm, out = cycle.folder / "calm" / "run", cycle.folder / "killed" / "run"
    assert table(calm) == table(out), cycle
    last = Path("checkpoints") / "last.ckpt"
    here, there = (torch.load(folder / last, weights_only=True) for folder in (calm, out))
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        mine, theirs = parts(here[name]), parts(there[name])
        assert mine.keys() == theirs.keys(), cycle
        for key, value in mine.items():
            same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
            assert same, (cycle, key)
    name = "sequences.parquet"
    if (calm / name).exists() or (out / name).exists():
        assert pq.read_table(calm / name).equals(pq.read_table(out / name)), cycle
    assert not [path for path in out.rglob(".*") if path.is_file()], "temporary files are left"


def soak(folder: Path, cycles: list[Cycle], settings: Path) -> Counter[str]:
    """Takes some cycles through their stages, side by side."""
    ends: Counter[str] = Counter()

    def stage(name: str, jobs: list[tuple[Cycle, Job]]) -> None:
        run(folder / name, [job for _, job in jobs], well=False)
        for cycle, job in jobs:
            check_said(cycle, job)

    begun = [(c, c.job("calm", "fit", "-c", settings, "--out", c.folder / "calm/run", *c.options)) for c in cycles]
    stage("calm", begun)
    trained = []
    for cycle, job in begun:
        ends[{0: "trained", 1: "stopped", 2: "refused"}[job.status[0]]] += 1
        if job.status == [2]:
            left = [path for path in (cycle.folder / "calm").rglob("*") if path.suffix in (".ckpt", ".csv")]
            assert not left, f"refused after training had begun: {cycle}"
        elif job.status == [0]:
            trained.append(cycle)
    killed = [
        (c, c.job("killed", "fit", "-c", settings, "--out", c.folder / "killed/run", *c.options)) for c in trained
    ]
    for cycle, job in killed:
        job.event = cycle.event
    stage("killed", killed)
    again = []
    for cycle, job in killed:
        ends["killed" if job.status[0] else "not reached"] += 1
        out = cycle.folder / "killed" / "run"
        words = ["-c", out / "config.yaml", "--ckpt_path", "last"]
        if not (out / "checkpoints" / "last.ckpt").exists():
            words = ["-c", settings, "--out", out, *cycle.options]
        again.append((cycle, cycle.job("again", "fit", *words)))
    stage("again", again)
    for cycle, job in again:
        assert job.status == [0], job.out[0][-3000:]
        check_equal(cycle)
    checks = [
        (c, c.job("validate", "validate", "-c", c.folder / "killed/run/config.yaml", "--ckpt_path", "last"))
        for c in trained
    ]
    stage("validate", checks)
    reports = [(c, c.job("report", "report", c.folder / "killed")) for c in trained]
    stage("report", reports)
    for cycle, job in [*checks, *reports]:
        assert job.status == [0], job.out[0][-3000:]
        check_equal(cycle)
    return ends


@pytest.mark.bar
@pytest.mark.timeout(3600)
def test_soak(tmp_path: Path) -> None:
    settings = tiny_config(write_corpus(tmp_path / "corpus.txt"))
    settings["trainer"] |= {"max_steps": STEPS, "val_check_interval": PERIOD}
    (tmp_path / "soak.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    offered, dice = options(), random.Random(SEED)  # noqa: S311 no secret is made here
    assert len(offered) > 40
    cycles = [draw(dice, tmp_path / f"cycle-{number}", offered) for number in range(CYCLES)]
    ends: Counter[str] = Counter()
    for start in range(0, CYCLES, GROUP):
        ends += soak(tmp_path / f"logs-{start}", cycles[start : start + GROUP], tmp_path / "soak.yaml")
    sys.stdout.write(f"{CYCLES} cycles, seed {SEED}: {dict(ends)}\n")
    assert ends["trained"] > CYCLES // 4
