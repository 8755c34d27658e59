"""Data of the interactive figure of restored sentences, and its striking case."""

import json
import math

import numpy as np

from tests.report.test_sentences import sequence
from uddm_lightning.report.restorations import pull, restorations, story


def decoded(data, split, place, t, size):
    """Return x0, xt, xhat and shades of a row at places of t and size, as texts."""
    row = data["models"][0]["rows"][split][place]
    xt = row["x0"][:]
    for i in range(0, len(row["noised"][str(t)]), 2):
        xt[row["noised"][str(t)][i]] = row["noised"][str(t)][i + 1]
    changes, shades, share = row["restored"][f"{t},{size}"]
    xhat = xt[:]
    for i in range(0, len(changes), 2):
        xhat[changes[i]] = changes[i + 1]
    return *("".join(data["texts"][token] for token in ids) for ids in (row["x0"], xt, xhat)), shades, share


def test_the_data_give_back_every_token():
    draw = np.random.default_rng(0)
    rows = []
    for size in (2, 64):
        for t in (0.1, 0.25):
            noise = np.random.default_rng(int(100 * t))
            xt = "".join(noise.choice(list("abcd"), 12))
            xhat = "".join(draw.choice(list("abcd"), 12))
            entropy = draw.random(12).tolist()
            rows.append(sequence(size, "abcdabcdabcd", xt, xhat, t=t, entropy=entropy))
    data = json.loads(json.dumps(restorations({"DiT": rows})))
    assert data["models"][0]["sizes"] == [2, 64]
    assert data["models"][0]["times"] == [0.1, 0.25]
    top = max(value for row in rows for value in row["entropy"])
    for row in rows:
        place = [0.1, 0.25].index(row["t"]), [2, 64].index(row["train_size"])
        x0, xt, xhat, shades, _ = decoded(data, "train", 0, *place)
        assert [x0, xt, xhat] == ["".join(row[f"{name}_text"]) for name in ("x0", "xt", "xhat")]
        assert shades == "".join(str(round(9 * value / top)) for value in row["entropy"])


def test_tokens_without_a_prediction_have_no_shade():
    """A masked model predicts hidden tokens only; the entropy of the others is NaN."""
    data = restorations({"DiT": [sequence(2, "abcd", "a_cd", "abcd", entropy=[math.nan, 2.0, math.nan, math.nan])]})
    assert decoded(json.loads(json.dumps(data, allow_nan=False)), "train", 0, 0, 0)[3] == " 9  "
    assert data["top"] == 2.0


def test_a_row_keeps_the_noise_that_most_sizes_share():
    rows = [sequence(size, "abcd", "axcd", "abcd") for size in (2, 8)]
    rows += [sequence(size, "abcd", "aacd", "aacd") for size in (2, 8, 64)]
    data = restorations({"DiT": rows})
    assert [decoded(data, "train", 0, 0, size)[1] for size in range(3)] == ["aacd"] * 3
    other = [*rows[:2], sequence(64, "abcd", "aacd", "aacd")]
    found = restorations({"DiT": other})["models"][0]["rows"]["train"][0]["restored"]
    assert sorted(found) == ["0,0", "0,1"], "other noise at the largest size is not shown as the same noise"


def test_tokens_of_equal_text_and_other_ids_differ():
    row = sequence(2, "ab", "ab", "ac") | {f"{name}_text": ["a", "b"] for name in ("x0", "xt", "xhat")}
    assert restorations({"DiT": [row]})["models"][0]["rows"]["train"][0]["restored"]["0,0"][0] != []


def test_the_data_are_small():
    rows = [sequence(2**k, "a" * 512, "b" * 512, "c" * 512, row_id=i) for k in range(10) for i in range(8)]
    data = restorations({"DiT": rows, "Ising": rows})
    shown = [row for model in data["models"] for row in model["rows"]["train"]]
    assert 2 <= len(shown) <= 8
    assert sum(512 * len(row["restored"]) for row in shown) <= 40_000


def test_an_unseen_row_that_becomes_a_training_row_is_told():
    stored = sequence(2, "abcdefghij", "abcdefghij", "abcdefghij")
    pulled = sequence(2, "klmnopqrst", "klmnopqxxx", "abcdefghiz", split="test", row_id=9)
    found = pull([stored, pulled])
    assert found is not None
    assert (found.size, found.row_id, found.before, found.after) == (2, 9, 0.0, 0.9)
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in story([stored, pulled])]
    assert lines[0] == (
        "Trained on 2 rows, the model pulls an unseen sentence into a stored one: at t = 0.25, 0.0 % of its tokens "
        "equal those of a training row before the chain, and 90.0 % after it."
    )
    assert lines[1] == "At t = 0.25, trained on 2 rows, the model restores 0 of 3 corrupted tokens of test rows."
    start = restorations({"DiT": [stored, pulled]})["models"][0]["start"]
    assert start == [0, 0, 0]
    assert pull([stored, {**pulled, "train_size": 8}]) is None, "no row of that subset is known"
    near = sequence(2, "abcdefghiz", "abcdefghiz", "abcdefghiz", split="test", row_id=9)
    assert pull([stored, near]) is None, "it was as near before the chain"
    assert pull([stored, sequence(2, *["klmnopqrst"] * 2, "abcdefgxyz", split="test")]) is None, "seven of ten tokens"


def test_without_sequences_nothing_is_told():
    assert story([]) == []
    assert restorations({"DiT": []})["models"] == []


def test_the_first_rows_show_corrupted_tokens_and_the_striking_case_is_near_the_reference_t():
    rows = []
    for t in (0.05, 0.1, 0.5):
        for row_id in (1, 2):
            xt = "abcdefghij" if row_id == 1 and t == 0.1 else "xbcdefghij"
            rows.append(sequence(2, "abcdefghij", xt, "abcdefghij", row_id=row_id, t=t))
        rows.append(sequence(2, "klmnopqrst", "klmnopqrsx", "abcdefghij", split="test", row_id=9, t=t))
    [model] = restorations({"DiT": rows})["models"]
    assert model["times"][model["start"][1]] == 0.1
    assert model["rows"]["train"][0]["noised"][str(model["start"][1])], "something is corrupted"
