import math

import numpy as np
import pytest
import torch

from tests.audit.conftest import drawn, generalizer, memory_of
from tests.support.oracle_worlds import markov
from uddm_lightning.audit.roc import separation
from uddm_lightning.audit.scores import SIGNS, ScoreSettings, residual, score
from uddm_lightning.audit.sequences import Sequences
from uddm_lightning.core.keyed_random import Stream, key

ALL = tuple(SIGNS)


def auc(scores, member):
    return separation(scores, member, np.arange(len(scores)), resamples=10).auc.value


def joined(*parts):
    fields = zip(
        *((one.tokens_NL, one.counted_NL, one.valid_NL, one.documents_N, one.rows_N) for one in parts), strict=True
    )
    return Sequences("all", "chain", *(torch.cat(field) for field in fields))


def test_a_memory_gives_its_rows_away_by_every_score(members, nonmembers):
    own, other = members.select(torch.arange(40)), nonmembers.select(torch.arange(40))
    model, member = memory_of(own.tokens_NL), np.arange(80) < 40
    found = score(*model, joined(own, other), ALL, ScoreSettings(t=0.3, draws=4))
    for name, values in found.items():
        assert np.isfinite(values).all(), name
        assert auc(SIGNS[name] * values, member) > 0.95, name


def test_a_model_of_the_distribution_gives_nothing_away(members, nonmembers):
    sequences, member = joined(members, nonmembers), np.arange(300) < 150
    found = score(*generalizer(), sequences, settings=ScoreSettings(draws=4))
    assert set(found) == set(ALL) - {"critical_t"}
    for name, values in found.items():
        assert 0.4 < auc(SIGNS[name] * values, member) < 0.6, name  # 3 standard errors


def test_a_score_depends_on_the_sequence_alone(members):
    model, settings = memory_of(members.tokens_NL[:5]), ScoreSettings(draws=2)
    together = score(*model, members.select(torch.arange(90)), ALL, settings)
    alone = score(*model, members.select(torch.tensor([70])), ALL, settings)
    for name in ALL:
        assert together[name][70] == pytest.approx(alone[name][0], abs=1e-12), name
    other = score(*model, members.select(torch.arange(90)), ("loss",), ScoreSettings(draws=2, seed=1))
    assert not np.allclose(other["loss"], together["loss"])


def test_values_are_those_of_a_table_of_all_rows():
    world = markov(V=3, L=4)
    task = generalizer().task
    task.process = world.process
    rows_NL = world.joint.rows_XL[::7]
    all_NL = torch.ones_like(rows_NL).bool()
    numbers = torch.arange(len(rows_NL))
    sequences = Sequences("rows", "rows", rows_NL, all_NL, all_NL, numbers, numbers)
    settings = ScoreSettings(t=0.4, draws=3, seed=5)
    found = score(task, world.denoiser, sequences, ("loss", "entropy", "entropy_leave_one_out"), settings)
    keys = key(key(5, Stream.MEASURING, 0), torch.arange(3))

    def noisy(row_L, draw, t):
        t_1 = torch.full((1,), t, dtype=torch.float64)
        noised = world.process.corrupt(row_L[None], t_1, keys[draw, None])
        level = world.process.level(t_1)
        return noised.xt_BL, float(level.alpha), float(level.slope)

    for number, row_L in enumerate(rows_NL):
        loss = entropy = 0.0
        for draw in range(3):
            shown_YL, alpha, slope = noisy(row_L, draw, 0.02 + 0.98 * (draw + 0.5) / 3)
            p_LV = world.joint.leave_one_out(alpha, shown_YL)[0]
            for place in range(4):
                loss += nelbo(p_LV[place], int(row_L[place]), int(shown_YL[0, place]), alpha, slope) / 12
            shown_YL, alpha, _ = noisy(row_L, draw, 0.4)
            entropy += float(torch.special.entr(world.joint.leave_one_out(alpha, shown_YL)[0]).sum()) / 12
        alpha = float(world.process.level(torch.tensor(0.02, dtype=torch.float64)).alpha)
        clean = float(torch.special.entr(world.joint.leave_one_out(alpha, row_L[None])[0]).sum()) / 4
        assert found["loss"][number] == pytest.approx(loss)
        assert found["entropy"][number] == pytest.approx(entropy)
        assert found["entropy_leave_one_out"][number] == pytest.approx(clean)


def nelbo(p_V, x0, xt, alpha, slope):
    """Return the integrand of the NELBO as it is printed in the paper of Duo."""
    size = len(p_V)
    bar = size * alpha * torch.eye(size, dtype=torch.float64)[x0] + 1 - alpha
    bar_p = size * alpha * p_V + 1 - alpha
    summed = sum(
        float(bar[j] / bar[xt]) * math.log(float(bar_p[xt] / bar_p[j] * bar[j] / bar[xt])) for j in range(size)
    )
    return slope / (size * alpha) * (float(size / bar[xt]) - float(size / bar_p[xt]) - summed)


def test_masked_models_are_scored_where_they_predict(members, nonmembers):
    own = members.select(torch.arange(30))
    model = memory_of(own.tokens_NL, mask=True)
    found = score(*model, joined(own, nonmembers.select(torch.arange(30))), settings=ScoreSettings(t=0.5, draws=4))
    for name in ("loss", "recovery"):
        values = np.nan_to_num(found[name], posinf=1e6)
        assert auc(SIGNS[name] * values, np.arange(60) < 30) > 0.95, name


def test_padding_does_not_count():
    rows = drawn(0, 20)
    valid_NL = torch.arange(12) < 8
    tokens_NL, counted_NL, documents_N = rows.tokens_NL, rows.counted_NL, rows.documents_N
    part_NL = counted_NL & valid_NL
    padded = Sequences("padded", "chain", tokens_NL.where(valid_NL, 0), part_NL, part_NL, documents_N, documents_N)
    all_NL = counted_NL[:, :8]
    short = Sequences("short", "chain", tokens_NL[:, :8], all_NL, all_NL, documents_N, documents_N)
    settings = ScoreSettings(draws=3)
    one, other = (score(*generalizer(), sequences, settings=settings) for sequences in (padded, short))
    for name in one:
        assert one[name] == pytest.approx(other[name], nan_ok=True), name


def test_a_sequence_without_corrupted_tokens_has_no_recovery():
    found = score(*generalizer(), drawn(0, 3), ("recovery",), ScoreSettings(t=1e-9, draws=1))
    assert np.isnan(found["recovery"]).all()


def test_a_residual_is_uncorrelated_with_the_level():
    rng = np.random.default_rng(0)
    level = rng.standard_normal(200)
    values = 3 * level + rng.standard_normal(200)
    values[7] = np.nan
    left = residual(values, level)
    known = ~np.isnan(left)
    assert known.sum() == 199
    assert np.corrcoef(left[known], level[known])[0, 1] == pytest.approx(0.0, abs=1e-12)
    assert left[known].mean() == pytest.approx(0.0, abs=1e-12)
