"""The choice of a sentence, the classes of its tokens, and their layout."""

import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.report import sentences as text
from uddm_lightning.results.study import Study


def sequence(size, x0, xt, xhat, row_id=1, split="train", **fields):
    texts = {f"{name}_text": list(ids) for name, ids in (("x0", x0), ("xt", xt), ("xhat", xhat))}
    ids = {name: [ord(c) for c in value] for name, value in (("x0", x0), ("xt", xt), ("xhat", xhat))}
    return {"train_size": size, "row_id": row_id, "split": split, "t": 0.25, **ids, **texts, "entropy": None, **fields}


def test_states_of_tokens():
    few, many = sequence(8, "abcd", "axyd", "abzq"), sequence(64, "abcd", "axyd", "abcd")
    sentence = text.choose([few, many], [8, 64], "train", 0.25)
    assert sentence is not None
    assert [line.label for line in sentence.lines] == ["original", "corrupted", "N = 8", "N = 64"]
    assert [[piece.state for piece in line.pieces] for line in sentence.lines] == [
        ["clean"] * 4,
        ["clean", "changed", "changed", "clean"],
        ["clean", "recovered", "lost", "broken"],
        ["clean", "recovered", "recovered", "clean"],
    ]
    assert sentence.summary == (
        "Trained on 8 rows: 1 of 2 corrupted tokens restored, 1 clean token changed.",
        "Trained on 64 rows: 2 of 2 corrupted tokens restored, 0 clean tokens changed.",
    )


def test_the_row_is_in_all_subsets_with_most_corrupted_tokens_and_the_same_corruption():
    rows = [
        sequence(8, "abcd", "axyz", "abcd", row_id=1),  # more corrupted, but differently at the other size
        sequence(64, "abcd", "pqrs", "abcd", row_id=1),
        sequence(8, "abcd", "axcd", "abcd", row_id=2),
        sequence(64, "abcd", "axcd", "abcd", row_id=2),
        sequence(8, "abcd", "axyd", "abcd", row_id=3),
        sequence(64, "abcd", "axyd", "abcd", row_id=3),
        sequence(64, "abcd", "wxyz", "abcd", row_id=4),  # in one subset only
    ]
    chosen = text.choose(rows, [8, 64], "train", 0.25)
    assert chosen is not None
    assert chosen.row_id == 3
    other = text.choose(rows[:2], [8, 64], "train", 0.25)
    assert other is not None
    assert [line.label for line in other.lines][1:] == ["corrupted, N = 8", "N = 8", "corrupted, N = 64", "N = 64"]
    assert text.choose(rows[6:], [8, 64], "train", 0.25) is None
    assert text.choose(rows, [8, 64], "test", 0.25) is None


def test_the_choice_does_not_depend_on_the_order(tmp_path):
    study = Study(sweeps.measurements(tmp_path))
    mine = study.rows_behind(sweeps.sequences(), "recovery", "DiT")
    for split in ("train", "test"):
        assert text.choose(mine, [2, 32, 8192], split, 0.25) == text.choose(mine[::-1], [2, 32, 8192], split, 0.25)


def test_only_the_last_step_of_the_lowest_seed_is_used(tmp_path):
    study = Study(sweeps.measurements(tmp_path, seeds=(0, 1)))
    table = sweeps.sequences().to_pylist()
    late = [{**row, "step": 100} for row in table] + [{**row, "seed": 1, "run": row["run"][:-1] + "1"} for row in table]
    stale = type(sweeps.sequences()).from_pylist(late, schema=sweeps.sequences().schema)
    assert {row["seed"] for row in study.rows_behind(stale, "recovery", "DiT")} == {1}
    assert {row["step"] for row in study.rows_behind(stale, "recovery", "DiT")} == {200}
    assert study.rows_behind(None, "recovery", "DiT") == []


def test_sequences_of_other_weights_than_the_reported_ones_are_left_out(tmp_path):
    study, table = Study(sweeps.measurements(tmp_path)), sweeps.sequences()
    raw = type(table).from_pylist([{**row, "weights": "raw"} for row in table.to_pylist()], schema=table.schema)
    assert study.rows_behind(raw, "recovery", "DiT") == []


@pytest.mark.parametrize(
    ("times", "level"), [((0.05, 0.25, 0.5), 0.25), ((0.1, 0.2, 1.0), 0.2), ((0.5, 1.0), 0.5), ((), None)]
)
def test_the_noise_is_a_quarter_or_the_nearest_below(times, level):
    assert text.noise_level([{"t": t} for t in times]) == level


def test_lines_are_cut_without_losing_their_alignment():
    one = sequence(8, "abc", "abc", "abc")
    one |= {"x0_text": ["war ", "and", " peace"], "xt_text": ["x", "and", " peace"], "xhat_text": ["war ", "or", "s"]}
    sentence = text.choose([one], [8], "train", 0.25)
    assert sentence is not None
    pages = text.columns(sentence, 8)
    assert ["".join(piece.text for piece in line) for line in pages[0]] == ["war and", "x   and", "war or "]
    assert ["".join(piece.text for piece in line) for line in pages[1]] == [" peace", " peace", "s     "]


def test_words_of_a_tokenizer_without_spaces_are_separated():
    one = sequence(8, "abc", "abc", "abc")
    one |= {f"{name}_text": ["war", "peace", "##ful"] for name in ("x0", "xt", "xhat")}
    sentence = text.choose(text.with_readable_texts([one]), [8], "train", 0.25)
    assert sentence is not None
    (page,) = text.columns(sentence, 40)
    assert "".join(piece.text for piece in page[0]) == " war peaceful"
    bare = {key: value for key, value in one.items() if not key.endswith("_text")}
    (named,) = text.with_readable_texts([bare])
    assert named["x0_text"] == [" 97", " 98", " 99"], "ids, where the text of tokens is not known"
