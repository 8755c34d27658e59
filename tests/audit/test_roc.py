import numpy as np
import pytest
from scipy import stats

from uddm_lightning.audit.roc import roc_curve, separation

RNG = np.random.default_rng(3)
SCORES = RNG.integers(0, 12, 40).astype(float)  # with many ties
MEMBER = RNG.random(40) < 0.4
DOCUMENTS = RNG.integers(0, 9, 40)


def counted_pairs(scores, member):
    """Return the AUC by counting every pair of a member and a nonmember."""
    differences = scores[member][:, None] - scores[~member]
    return ((differences > 0) + (differences == 0) / 2).mean()


def tried_thresholds(scores, member, fpr):
    """Return the largest TPR of all thresholds that keep the FPR."""
    rates = [
        ((scores[member] >= threshold).mean(), (scores[~member] >= threshold).mean())
        for threshold in [*np.unique(scores), np.inf]
    ]
    return max(tpr for tpr, false in rates if false <= fpr)


def test_auc_is_the_share_of_ordered_pairs():
    assert separation(SCORES, MEMBER, DOCUMENTS).auc.value == pytest.approx(counted_pairs(SCORES, MEMBER), abs=1e-12)


@pytest.mark.parametrize("fpr", [0.0, 0.05, 0.1, 0.5, 1.0])
def test_tpr_is_the_largest_at_any_threshold_that_keeps_the_fpr(fpr):
    found = separation(SCORES, MEMBER, DOCUMENTS, fprs=[fpr]).tpr[fpr].value
    assert found == pytest.approx(tried_thresholds(SCORES, MEMBER, fpr), abs=1e-12)


def test_points_of_the_curve_are_the_rates_at_every_threshold():
    curve = roc_curve(SCORES, MEMBER)
    for threshold, fpr, tpr in zip(np.unique(SCORES)[::-1], curve.fpr[1:], curve.tpr[1:], strict=True):
        assert fpr == pytest.approx((SCORES[~MEMBER] >= threshold).mean())
        assert tpr == pytest.approx((SCORES[MEMBER] >= threshold).mean())
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(counted_pairs(SCORES, MEMBER))


def test_the_interval_is_that_of_whole_documents_drawn_again():
    found = separation(SCORES, MEMBER, DOCUMENTS, resamples=3000).auc
    codes = np.unique(DOCUMENTS)
    rng, values = np.random.default_rng(8), []
    for _ in range(3000):
        places = np.concatenate([np.flatnonzero(one == DOCUMENTS) for one in rng.choice(codes, len(codes))])
        if 0 < MEMBER[places].sum() < len(places):
            values.append(counted_pairs(SCORES[places], MEMBER[places]))
    smaller = min(len(np.unique(DOCUMENTS[group])) for group in (MEMBER, ~MEMBER))
    wider = stats.t.ppf(0.975, smaller - 1) / stats.norm.ppf(0.975)
    bounds = found.value + wider * (np.quantile(values, [0.025, 0.975]) - found.value)
    assert (found.low, found.high) == pytest.approx(tuple(bounds), abs=0.02)
    rows = separation(SCORES, MEMBER, np.arange(40), resamples=3000).auc
    assert rows.high - rows.low != pytest.approx(found.high - found.low, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [8, 40])
def test_intervals_cover_the_true_auc_in_95_of_100_cases(number):
    rng, covered = np.random.default_rng(5), 0
    for case in range(300):
        documents = np.repeat(np.arange(number), 5)
        member = documents % 2 == 0
        # shared part of a document, half of the variance; AUC = Phi(1 / sqrt(2)) = 0.760
        scores = member + np.sqrt(0.5) * (rng.standard_normal(number)[documents] + rng.standard_normal(len(documents)))
        auc = separation(scores, member, documents, seed=case, resamples=300).auc
        covered += auc.low <= 0.7602 <= auc.high
    assert 0.91 <= covered / 300 <= 0.99


def test_full_separation_has_an_interval_of_positive_width():
    scores, member = np.arange(60.0), np.arange(60) >= 30
    found = separation(scores, member, np.arange(60))
    assert found.auc == found.tpr[0.01] == (1.0, pytest.approx(0.884, abs=1e-3), 1.0)
    assert found.auc.low**30 == pytest.approx(0.025)
    assert separation(-scores, member, np.arange(60)).auc == (0.0, 0.0, pytest.approx(0.116, abs=1e-3))


def test_one_document_has_no_interval():
    found = separation(SCORES, MEMBER, np.zeros(40, dtype=np.int64)).auc
    assert found.value == pytest.approx(counted_pairs(SCORES, MEMBER))
    assert np.isnan([found.low, found.high]).all()


def test_missing_scores_and_groups_are_refused():
    with pytest.raises(ValueError, match="`scores_N` must not hold NaN"):
        roc_curve(np.array([np.nan, 1.0]), np.array([True, False]))
    with pytest.raises(ValueError, match="`member_N` must hold members and nonmembers"):
        roc_curve(np.array([0.0, 1.0]), np.array([True, True]))
