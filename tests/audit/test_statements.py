import copy

import pytest

from uddm_lightning.audit.page import audit_page
from uddm_lightning.audit.statements import findings


def interval(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def entry(auc, **more):
    rates = {"0.01": interval(0.4, 0.3, 0.5), "0.001": interval(0.1, 0.0, 0.3)}
    return {"auc": auc, "tpr_at_fpr": rates, "roc": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.75, 1.0]}, **more}


def extracted(value):
    pairs = [{"n": 1, "p": 0.5, **interval(value, 0.0, 1.0)}]
    rate = interval(value, 0.0, 1.0)
    return {"sequences": 8, "attempts": 4, "verbatim": rate, "extracted": rate, "tokens_right": rate, "n_p": pairs}


@pytest.fixture
def found():
    scores = {"loss": entry(interval(0.9, 0.85, 0.94), p_value=1e-4), "recovery": entry(interval(0.6), p_value=0.2)}
    return {
        "model": {"path": "runs/<one>", "step": 7, "weights": "ema", "checkpoint": "ab"},
        "reference": None,
        "members": {"name": "train", "sequences": 32, "documents": 20},
        "nonmembers": {"name": "pool", "sequences": 800, "documents": 90},
        "duplicates_left_out": 0,
        "t_range": [0.05, 1.0],
        "settings": {"noise": {"t": 0.1, "draws": 8, "seed": 0}},
        "membership": {
            "blind_baseline": entry(interval(0.51, 0.46, 0.55)),
            "confounded": False,
            "scores": scores,
            "dataset_test": {"p_value": 2e-4, "score": "loss", "tests": 2},
        },
        "canaries": {
            "alternatives": 7,
            "highest_exposure": 3.0,
            "exposure_by_chance": 1.08,
            "by_repetitions": [
                {"repetitions": 0, "canaries": 2, "exposure": interval(1.0, 0.2, 2.0), "recovery": interval(0.1)},
                {"repetitions": 16, "canaries": 1, "exposure": interval(3.0), "recovery": interval(0.9)},
            ],
            "canaries": [
                {"repetitions": 0, "exposure": 0.5, "loss": 3.0, "recovery": 0.1},
                {"repetitions": 16, "exposure": 3.0, "loss": 0.1, "recovery": 0.9},
            ],
        },
        "extraction": {"suffix": {"members": extracted(0.75), "nonmembers": extracted(0.0)}},
    }


def test_the_state_of_the_split_comes_first(found):
    assert findings(found).sentences[0] == (
        "No evidence that the split is confounded: AUC 0.510 (0.460 to 0.550) of a classifier that sees only the text."
    )
    confounded = copy.deepcopy(found)
    confounded["membership"] |= {"confounded": True, "blind_baseline": entry(interval(0.7, 0.6, 0.8))}
    first = findings(confounded).sentences[0]
    assert first.startswith("THE SPLIT IS CONFOUNDED: a classifier that sees only the text separates members from ")
    assert "AUC 0.700 (0.600 to 0.800)" in first
    unknown = copy.deepcopy(found)
    unknown["membership"] |= {"confounded": None, "blind_baseline": None}
    assert findings(unknown).sentences[0].startswith("It is undetermined whether the split is confounded")
    for one in (found, confounded, unknown):
        page = audit_page(one)
        assert page.index('class="answer"') < page.index("The model scores members higher")


def test_sentences_name_test_extraction_and_canaries(found):
    found["duplicates_left_out"] = 3
    text = "\n".join(findings(found).sentences)
    assert "The model scores members higher than nonmembers: p = 0.0002 by permutation, corrected for 2 scores." in text
    assert "The strongest score is loss, AUC 0.900 (0.850 to 0.940)." in text
    assert "There are 800 nonmembers: a false positive rate of 0.1 % needs 1,000" in text
    assert "3 nonmembers that equal a member were left out." in text
    assert "verbatim in one of 4 attempts, by hidden part: suffix 75.0\N{NO-BREAK SPACE}% (unseen text 0.0" in text
    assert "by repetitions: 1.0 bits for 0, 3.0 bits for 16." in text
    found["membership"]["dataset_test"]["p_value"] = 0.3
    assert "No evidence that the model scores members higher than nonmembers: p = 0.3" in findings(found).sentences[1]


def test_tables_hold_every_score_mask_and_repetition(found):
    tables = findings(found).tables
    assert [row[0] for row in tables["Membership"].rows] == ["text alone (blind baseline)", "loss", "recovery"]
    assert tables["Membership"].rows[1][-1] == "0.0001"
    assert [row[:2] for row in tables["Extraction"].rows] == [["suffix", "members"], ["suffix", "nonmembers"]]
    assert [row[0] for row in tables["Canaries"].rows] == ["0", "16"]
    found |= {"extraction": None, "canaries": None}
    assert set(findings(found).tables) == {"Membership"}


def test_the_page_is_complete_and_escapes_names(found):
    page = audit_page(found)
    assert page.count("<svg") == 4  # two figures, each in two arrangements
    assert "mathdefault" not in page
    assert "runs/&lt;one&gt;" in page
    assert "<one>" not in page
    assert "NELBO on t in [0.05, 1]" in page
