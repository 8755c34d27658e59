"""`uddm doctor`: the checks pass on correct code, and each check fails on the error that it covers."""

import re

import torch

LINES = {
    "keyed random numbers": 0,
    "predictions of the oracles": 1e-6,
    "NELBO minus entropy of Markov text": 1e-4,
    "NELBO minus entropy of memorized rows": 1e-4,
    "frequencies of sampled texts": 5,
    "recovery of the unigram model": 4,
    "tokens restored differently": 0,
    "checkpoint saved and loaded": 0,
}


def test_all_checks_pass(uddm):
    outcome = uddm("doctor")
    assert outcome.status == 0, outcome.out
    assert f"torch {torch.__version__}" in outcome.out
    assert re.search(r"CPU: \d+ core\(s\), \d+ thread\(s\)", outcome.out)
    assert "cache: " in outcome.out
    for name, limit in LINES.items():
        line = next(line for line in outcome.out.splitlines() if line.startswith(name))
        *_, error, tolerance, verdict = line.split()
        assert verdict == "pass"
        assert 0 <= float(error) <= limit
        assert float(tolerance) == limit
    assert "all 8 checks passed in" in outcome.out


def test_failed_check_gives_exit_status_1(uddm, monkeypatch):
    monkeypatch.setattr("uddm_lightning.doctor.checks.KEY_SUM", 1)
    outcome = uddm("doctor")
    assert outcome.status == 1
    assert re.search(r"keyed random numbers.* FAIL\n", outcome.out)
    assert "1 of 8 checks FAILED" in outcome.out


def test_an_unknown_option_gives_one_message(uddm):
    outcome = uddm("doctor", "--gpu")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "uddm: error: uddm doctor: unrecognized arguments: --gpu\n"
