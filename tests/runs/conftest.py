"""A run without its text, and the command that draws samples of it into small shards."""

from functools import cache

import pytest

from uddm_lightning.runs import load as loading
from uddm_lightning.runs import sampling, shards

SMALL = 8  # rows of a shard in this process


@cache
def loaded(*arguments):
    """Load the model once, because loading takes longer than sampling."""
    return loading.load(*arguments)


@pytest.fixture
def run(textless, monkeypatch):
    monkeypatch.setenv("UDDM_CACHE", str(textless / "cache"))
    monkeypatch.setattr("uddm_lightning.runs.run.load", loaded)
    monkeypatch.setattr(sampling, "ROWS", SMALL)
    monkeypatch.setattr(shards, "ROWS", SMALL)
    monkeypatch.setattr("uddm_lightning.runs.sample_summary.ROWS", SMALL)
    return textless / "run"


def arguments(run, file, count, *more):
    return ["sample", run, "-n", count, "--out", file, *more]


@pytest.fixture
def sampled(uddm, run):
    def sample(file, count, *more, status=0):
        outcome = uddm(*arguments(run, file, count, *more))
        assert outcome.status == status, outcome.err
        return outcome.out if status == 0 else outcome.err

    return sample
