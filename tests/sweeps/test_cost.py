"""Estimated cost of a run and of a sweep, as `uddm preflight` prints it."""

import re
from pathlib import Path

import pytest

from tests.preflight.conftest import TINY, V
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.commands.preflight import preflight
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.costs import SweepRuns, gpu_lines
from uddm_lightning.preflight.gpu_estimate import H100, estimate_run


def printed(capsys, *arguments: str) -> dict[str, str]:
    assert preflight([*TINY, *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: value for name, _, value in (line.partition("  ") for line in lines)}


def test_the_paper_s_sweep(capsys):
    found = printed(capsys, "-c", "paper/sweep", "--price", "2.5")
    hours = estimate_run(resolve(TINY).values, V).gpu_hours
    assert f"about {hours:.3g} H100 hours, estimated without measurements; " in found["GPU time"]
    assert "TFLOP at 8.2% of 798 TFLOP/s" in found["GPU time"]
    assert found["sweep"].strip() == f"54 runs, about {54 * hours:,.0f} H100 hours, estimated as above"
    assert f"{54 * hours * 2.5:,.0f} for the sweep, at 2.5 for a GPU hour" in found["price"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tiny", "small", "medium"])
def test_hours_in_the_documentation(network):
    config = resolve(["-c", f"paper/lm1b_{network}", "--trainer.precision", "bf16-mixed"]).values
    run = estimate_run(config, V, gpu_memory=H100.memory)
    found = dict(gpu_lines(run, [SweepRuns(54, run)], H100, None))
    one, sweep = (re.search(r"([\d.,]+ H100 hours)", found[name])[1] for name in ("GPU time", "sweep"))
    memory = re.search(r"([\d.]+ GB)", found["GPU memory"])[1]
    text = (Path(__file__).parents[2] / "configs" / "README.md").read_text(encoding="utf-8")
    assert f"| `paper/lm1b_{network}` | {one} | {sweep} | {memory}" in text
    if network == "tiny":
        assert sweep in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sizes_and_seeds_multiply(capsys):
    assert printed(capsys, "--sizes", "0.1,0.5,1.0", "--seeds", "0,1")["sweep"].strip().startswith("6 runs,")
    assert printed(capsys, "--sizes", "auto", "--budget", "5")["sweep"].strip().startswith("5 runs,")
    assert printed(capsys, "--sizes", "2:512:x4")["sweep"].strip().startswith("5 runs,")
    assert printed(capsys)["sweep"].strip().startswith("12 runs,"), "2 to 7.15 million rows"


def test_wrong_values(tmp_path: Path):
    with pytest.raises(InputError, match=r"`--price -1\.0` must be at least 0"):
        preflight([*TINY, "--price", "-1"])
    with pytest.raises(InputError, match="invalid float value"):
        preflight([*TINY, "--price", "much"])
    with pytest.raises(InputError, match="not a complete table"):
        preflight([*TINY, "--benchmark", str(tmp_path / "none.csv")])
