"""Estimated cost of a run and of a sweep, as `uddm preflight` prints it."""

import json
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


def models(capsys, *arguments: str) -> tuple[list[str], str, str]:
    """Return the lines on models, the number of runs and the steps that are printed."""
    assert preflight(list(arguments)) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    found = {name: value for name, value in lines if name != "model"}
    return [value for name, value in lines if name == "model"], found["sweep"], found["training"]


def test_every_option_of_a_sweep_counts(capsys, config: Path):
    """Also for training on a CPU, whose hours are not estimated."""
    wide = {"model.backbone.init_args.hidden_size": 32}
    variants = ("--variant", "control={}", "--variant", f"wide={json.dumps(wide)}")
    sweep = ("--sizes", "2,8,16", "--seeds", "0,1", "--at-steps", "5,10", "--keep-checkpoints", "--jobs", "2")
    launcher = ("--launcher", "slurm", "--launcher.partition", "gpu")
    alphabet = ("--data.tokenizer.init_args.alphabet", "abc")  # else it is known after the text is read
    found, runs, training = models(capsys, "-c", str(config), *alphabet, *variants, *sweep, *launcher)
    control, other = (int(re.search(r"([\d,]+) parameters", line)[1].replace(",", "")) for line in found)
    assert [line.split(",")[0] for line in found] == ["control", "wide"]
    assert control < other
    assert runs == "12 runs", "2 models x 3 sizes x 2 seeds"
    assert training.startswith("10 steps")
    path = config.with_name("variants.yaml")
    path.write_text(f"sweep:\n  variant: {json.dumps({'control': {}, 'wide': wide})}\n", encoding="utf-8")
    assert models(capsys, "-c", str(config), "-c", str(path), *alphabet, "--sizes", "2,8")[:2] == (found, "4 runs")


def test_a_model_that_could_not_start_is_refused(capsys, config: Path):
    with pytest.raises(InputError, match=r"`data.batch_size` is 3, .*not divisible"):
        preflight(["-c", str(config), "--variant", 'odd={"data.batch_size": 3, "trainer.accumulate_grad_batches": 2}'])
    assert "odd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "2,8", "--data.train_size", "4"], "give one of the two"),
        (["--keep-checkpoints"], "needs `--at-steps`"),
        (["--launcher.nonsense", "1"], "`launcher` has no argument `nonsense`"),
        (["--variant", "x"], "give a name and options as JSON"),
        (["--variant", "a={}", "--backbone", "backbones/hidden32"], "give one of the two"),
        (["--budget", "6"], "`--budget 6` needs `--sizes auto`"),
        (["--sizes", "auto"], "`--sizes auto` needs `--budget R`"),
        (["--sizes", ""], r"`--sizes `: '' is no number"),
        (["--seeds", "one"], "`--seeds one` is no comma-separated list"),
        (["--seeds", "0,1", "--seed_everything", "3"], "`--seed_everything` is set by `--seeds` for all runs"),
        (["--variant", 'a={"data.train_size": 8}'], "`data.train_size` is set by `--sizes` for all models"),
        (["--at-steps", "2,4", "--variant", 'a={"trainer": {"max_steps": 8}}'], "is set by `--at-steps 2,4`"),
        (["--price", "2"], "`--price 2` is that of a GPU hour, and `trainer.accelerator` is cpu"),
    ],
)
def test_what_a_sweep_refuses_is_refused(config: Path, options: list[str], message: str):
    with pytest.raises(InputError, match=message):
        preflight(["-c", str(config), *options])


def test_a_text_needs_no_config_and_leaves_no_file(capsys, corpus: Path, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    _, runs, training = models(capsys, "--text", str(corpus), "--seeds", "0,1")
    assert int(runs.split()[0]) % 2 == 0
    assert training.split()[0] != "0"
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_values(tmp_path: Path):
    with pytest.raises(InputError, match=r"`--price -1\.0` must be at least 0"):
        preflight([*TINY, "--price", "-1"])
    with pytest.raises(InputError, match="invalid float value"):
        preflight([*TINY, "--price", "much"])
    with pytest.raises(InputError, match="not a complete table"):
        preflight([*TINY, "--benchmark", str(tmp_path / "none.csv")])
