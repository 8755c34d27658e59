import numpy as np
import pytest
import torch

from tests.audit.conftest import V, drawn, generalizer, memory_of
from uddm_lightning.audit.membership import audit_membership
from uddm_lightning.audit.scores import ScoreSettings, score
from uddm_lightning.audit.sequences import join
from uddm_lightning.core.markov_chain import MarkovChain

SETTINGS = ScoreSettings(t=0.3, draws=2)
NAMES = ("loss", "recovery")


def audited(model, members, nonmembers, reference=None):
    joined = join(members, nonmembers)
    scores, theirs = (
        None if one is None else score(*one, joined.sequences, NAMES, SETTINGS) for one in (model, reference)
    )
    return audit_membership(scores, joined, V, reference=theirs)


def test_a_memory_is_found_and_its_split_is_not_confounded(members, nonmembers):
    members, nonmembers = (rows.select(torch.arange(50)) for rows in (members, nonmembers))
    found = audited(memory_of(members.tokens_NL), members, nonmembers, reference=generalizer())
    assert found["confounded"] is False
    assert abs(found["blind_baseline"]["auc"]["value"] - 0.5) < 0.15
    assert found["dataset_test"]["p_value"] == pytest.approx(6 / 10000)
    assert set(found["scores"]) == {
        f"{name}{suffix}" for name in NAMES for suffix in ("", " minus reference", " given n-grams")
    }
    for name, entry in found["scores"].items():
        assert entry["auc"]["value"] > 0.9, name
        assert entry["p_value"] == pytest.approx(1e-4), name


def test_a_model_without_memory_is_not_accused(members, nonmembers):
    found = audited(generalizer(), members, nonmembers)
    assert found["confounded"] is False
    assert found["dataset_test"]["p_value"] > 0.05
    for entry in found["scores"].values():
        assert entry["auc"]["low"] < 0.5 < entry["auc"]["high"]


def test_a_confounded_split_is_reported_although_the_model_knows_no_member(members):
    other = drawn(0, 150, "other", chain=MarkovChain.random(V, sharpness=1.5, seed=9))
    found = audited(generalizer(), members, other)
    assert found["confounded"] is True
    assert found["blind_baseline"]["auc"]["low"] > 0.8
    assert found["scores"]["loss"]["auc"]["value"] > 0.8  # the loss of the model separates them, too


def test_scores_relative_to_the_reference_and_to_ngrams_are_as_defined(members, nonmembers):
    joined = join(members, nonmembers)
    rng = np.random.default_rng(1)
    own, theirs = rng.standard_normal((2, 300))
    found = audit_membership({"loss": own}, joined, V, reference={"loss": theirs})["scores"]

    def auc(values):
        pairs = values[joined.member_N][:, None] - values[~joined.member_N]
        return (pairs > 0).mean()

    assert found["loss"]["auc"]["value"] == pytest.approx(auc(-own))
    assert found["loss minus reference"]["auc"]["value"] == pytest.approx(auc(theirs - own))
    same = audit_membership({"loss": theirs}, joined, V, reference={"loss": theirs})["scores"]
    assert same["loss minus reference"]["auc"]["value"] == 0.5


def test_missing_values_favour_no_group(members, nonmembers):
    joined = join(members, nonmembers)
    values = np.where(joined.member_N, np.nan, np.arange(300.0))
    found = audit_membership({"recovery": values}, joined, V)["scores"]["recovery"]
    assert found["auc"]["value"] == pytest.approx(0.5, abs=0.01)
    nothing = audit_membership({"recovery": np.full(300, np.nan)}, joined, V)["scores"]["recovery"]
    assert nothing["auc"]["value"] == 0.5


def test_without_a_second_document_the_split_cannot_be_judged(members, nonmembers):
    same = torch.zeros(150).long()
    one = join(members, type(nonmembers)(*("other", "other"), *fields(nonmembers)[:3], same, same))
    found = audit_membership({"loss": np.arange(300.0)}, one, V)
    assert found["blind_baseline"] is None
    assert found["confounded"] is None
    assert set(found["scores"]) == {"loss"}


def fields(one):
    return one.tokens_NL, one.counted_NL, one.valid_NL
