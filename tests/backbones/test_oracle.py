"""Oracles, compared with enumeration of every text, and metrics, compared with enumeration for oracles.

The reference values are sums over all V^L texts, without forward-backward or row matching. Each test must also fail for
a wrong oracle, which returns the posterior p(x_0^l | x_t) instead of the leave-one-out prediction. Under the absorbing
process the two are equal; there the wrong oracle assumes uniform noise.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.command_line import check, measure_oracle, select, table
from tests.support.oracle_worlds import WORLDS, World, every_noise, every_world, markov, memory, unigram
from tests.support.toy_worlds import (
    expected_nelbo,
    integrated_nelbo,
    prior_gap,
)
from uddm_lightning.metrics import functional as F

TIMES = (1e-5, 1e-3, 0.1, 0.5, 1.0)


# ------------------------------------------------------------------------------------------------------- predictions


def assert_exact_predictions(world: World, shown_YL: Tensor) -> None:
    """Assert that predictions for given noisy rows equal the sum over all texts, to 1e-6."""
    joint, n_compared = world.joint, 0
    for t in TIMES:
        alpha = float(world.process.level(torch.tensor(t, dtype=torch.float64)).alpha)
        factors = joint.factors(alpha, shown_YL)
        predicted_p = world.predict_rows(shown_YL, alpha).exp()
        for place in range(joint.L):
            others = [m for m in range(joint.L) if m != place]
            weight = joint.p_X[:, None] * factors[..., others].prod(-1)
            by_id = torch.stack([weight[joint.rows_XL[:, place] == v].sum(0) for v in range(joint.V)], 1)
            total = by_id.sum(1, keepdim=True)
            predicted = world.process.prediction_mask(shown_YL[:, place]) & (total[:, 0] > 0)
            exact = (by_id / total)[predicted]
            torch.testing.assert_close(predicted_p[:, place][predicted], exact, rtol=0, atol=1e-6)
            n_compared += len(exact)
    assert n_compared >= 5


@every_noise
@every_world
@pytest.mark.parametrize(("V", "L"), [(2, 2), (3, 4), (8, 3), (8, 4)])
def test_predictions_equal_enumeration(make: Callable[..., World], V: int, L: int, mask: bool) -> None:
    world = make(V, L, mask=mask)
    few = torch.randperm(len(world.joint.noisy_YL), generator=torch.Generator().manual_seed(1))[:40]
    assert_exact_predictions(world, world.joint.noisy_YL[few])


def test_oracle_that_ignores_masks_fails() -> None:
    world = memory(3, 4, mask=True)
    world.oracle.mask_id = None
    with pytest.raises(AssertionError, match="not close"):
        assert_exact_predictions(world, world.joint.noisy_YL)


@every_world
def test_posterior_instead_of_leave_one_out_fails(make: Callable[..., World]) -> None:
    world = make(3, 4, wrong=True)
    with pytest.raises(AssertionError, match="not close"):
        assert_exact_predictions(world, world.joint.rows_XL)


@every_world
def test_padding_is_ignored(make: Callable[..., World]) -> None:
    """The prediction for a padded row is that of its valid prefix."""
    world, alpha = make(3, 4), 0.6
    joint, shown = world.joint, torch.tensor([[0, 1, 2, 2], [2, 2, 1, 0]])
    valid = torch.tensor([[True, True, False, False]] * 2)
    sigma = torch.full((2,), -math.log(alpha), dtype=torch.float64)
    predicted_p = torch.softmax(world.oracle(shown, sigma, valid), -1)
    masked = make(3, 4, mask=True)
    beginning = torch.tensor([[3, 1, 3, 3]])
    padded, open_end = (
        masked.oracle(tokens, sigma[:1], keep)[0, 0]
        for tokens, keep in ((torch.tensor([[3, 1, 0, 2]]), valid[:1]), (beginning, None))
    )
    torch.testing.assert_close(torch.softmax(padded, -1), torch.softmax(open_end, -1))
    miss = (1 - alpha) / 3
    for row in (0, 1):
        for place in (0, 1):
            other = 1 - place
            factor = torch.where(joint.rows_XL[:, other] == shown[row, other], alpha + miss, miss)
            weight = joint.p_X * factor
            exact = torch.stack([weight[joint.rows_XL[:, place] == v].sum() for v in range(3)])
            torch.testing.assert_close(predicted_p[row, place], exact / exact.sum())


# ------------------------------------------------------------------------------------------------------- likelihood


def assert_exact_nelbo(world: World) -> None:
    """Assert that the NELBO over all t plus the gap of the prior is the exact NLL, to 1e-4 nats per row."""
    bound = integrated_nelbo(world.process, world.joint, world.predict) + prior_gap(world.process, world.joint)
    assert bound == pytest.approx(world.joint.entropy, abs=1e-4)


@every_noise
@pytest.mark.parametrize(("make", "L"), [(markov, 3), (memory, 4), (unigram, 3)], ids=WORLDS)
def test_nelbo_is_the_exact_likelihood(make: Callable[..., World], L: int, mask: bool) -> None:
    assert_exact_nelbo(make(3, L, mask=mask))


@pytest.mark.parametrize("world", [markov(3, 3, True), memory(3, 4, wrong=True), unigram(3, 3, True)], ids=WORLDS)
def test_nelbo_of_the_posterior_fails(world: World) -> None:
    with pytest.raises(AssertionError):
        assert_exact_nelbo(world)


# ------------------------------------------------------------------------------------------------- through the probes


@every_world
def test_entropy_of_every_token_equals_enumeration(make: Callable[..., World]) -> None:
    world = make(3, 4)
    for alpha in (0.9995, 0.7, 0.1):
        ours = F.entropy(world.predict(alpha).reshape(-1, 3)).view(-1, 4)
        theirs = torch.special.entr(world.joint.leave_one_out(alpha)).sum(-1)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- samples


# ------------------------------------------------------------------------------------------------------- the text


def test_expected_nelbo_of_the_posterior_is_larger() -> None:
    """Check the reference: at one t, the loss of the oracle is below that of the posterior."""
    right, wrong = markov(3, 3), markov(3, 3, wrong=True)
    alpha = float(right.process.level(torch.tensor(0.4, dtype=torch.float64)).alpha)
    losses = [expected_nelbo(world.process, world.joint, world.predict(alpha), 0.4) for world in (right, wrong)]
    assert losses[0] < losses[1] - 0.1


def test_an_oracle_is_measured_on_all_draws(uddm, markov_config, tmp_path):
    """An oracle has no training, so all measurements use all draws."""
    rows = measure_oracle(
        uddm, markov_config, tmp_path / "run", "UnigramBackbone", "--recovery.num_rows_during_training", 3
    )
    assert {row["n_draws"] for row in select(rows, "recovery", "train")} == {"128"}


@pytest.mark.slow
def test_measuring_again_gives_the_same_and_another_config_is_refused(uddm, markov_config, tmp_path):
    run = tmp_path / "run"
    measure_oracle(uddm, markov_config, run, "MarkovBackbone")
    assert {"config.yaml", "manifest.json"} <= {path.name for path in run.iterdir()}
    text = (run / "measurements.csv").read_bytes()
    measure_oracle(uddm, markov_config, run, "MarkovBackbone")
    assert (run / "measurements.csv").read_bytes() == text
    outcome = uddm("validate", "-c", run / "config.yaml")
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == text
    options = ("--model.backbone", "MarkovBackbone", "--out", run, "--data.train_size", 9)
    check(uddm("validate", "-c", markov_config, *options), str(run), "another config", "--out")


@pytest.mark.slow
def test_an_oracle_does_not_write_into_a_trained_run(uddm, markov_config, tmp_path):
    run = tmp_path / "run"
    assert uddm("fit", "-c", markov_config, "--out", run, "--trainer.max_steps", 3).status == 0
    before = (run / "measurements.csv").read_bytes()
    options = ("--model.backbone", "MarkovBackbone")
    check(uddm("validate", "-c", run / "config.yaml", *options), str(run), "already holds a run", "--out")
    assert (run / "measurements.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("command", "backbone"), [("validate", "MarkovBackbone"), ("fit", "DiT")])
def test_a_dry_run_leaves_no_traces_in_an_earlier_run(uddm, markov_config, tmp_path, command, backbone):
    common = (command, "-c", markov_config, "--model.backbone", backbone, "--out", tmp_path / "run")
    assert uddm(*common).status == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("run/**/*") if path.is_file()}
    outcome = uddm(*common, "--trainer.fast_dev_run", "true", "--data.train_size", 9)
    assert outcome.status == 0, outcome.err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("run/**/*") if path.is_file()}


def test_an_oracle_restores_text(uddm, markov_config, tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("abcabc\nffedcb\n", encoding="utf-8")
    options = ("--model.backbone", "MarkovBackbone", "--text", given, "--out", tmp_path / "restored")
    outcome = uddm("predict", "-c", markov_config, *options)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "restored" / "restored.jsonl").read_text(encoding="utf-8").count("\n") == 2
    assert not (tmp_path / "restored" / "measurements.csv").exists()


def test_an_oracle_cannot_be_trained(uddm, markov_config):
    check(uddm("fit", "-c", markov_config, "--model.backbone", "MarkovBackbone"), "MarkovBackbone", "uddm validate")


@pytest.mark.slow
def test_a_sweep_over_known_text_also_measures_the_oracle(uddm, markov_config, tmp_path):
    out = tmp_path / "sweep"
    unused = [word for probe in ("basin", "trajectory", "samples") for word in (f"--{probe}.enabled", "false")]
    few = ("--data.num_train_rows", 16, "--data.num_test_rows", 16, *unused)
    command = ("sweep", "-c", markov_config, "--out", out, "--sizes", "4,64", "--page-only", *few)
    outcome = uddm(*command)
    assert outcome.status == 0, outcome.err
    names = {"DiT-n4-s0", "DiT-n64-s0", "MarkovBackbone-n64-s0"}
    assert {path.name for path in (out / "runs").iterdir()} == names
    assert {row["backbone"] for row in table(out)} == {"DiT", "MarkovBackbone"}
    assert '"MarkovBackbone"' not in (out / "transition.json").read_text(encoding="utf-8")
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "the exact posterior&#x27;s chain reaches 0." in html
    text = (out / "measurements.csv").read_bytes()
    again = uddm(*command)
    assert "3 of 3 runs are finished already" in again.err
    assert (out / "measurements.csv").read_bytes() == text
    # equal to a separate measurement
    options = (
        "--model.backbone",
        "MarkovBackbone",
        "--data.train_size",
        64,
        "--out",
        tmp_path / "MarkovBackbone-n64-s0",
    )
    assert uddm("validate", "-c", markov_config, *few, *options).status == 0
    assert table(tmp_path / "MarkovBackbone-n64-s0") == table(out / "runs" / "MarkovBackbone-n64-s0")
