"""Numbers and texts as the report prints them."""

from tests.report.test_sentences import sequence
from uddm_lightning.report import sentences as text
from uddm_lightning.report.formatting import escaped, typeset, visible


def test_marked_spaces_and_control_characters_are_visible():
    sentence = text.choose([sequence(8, "a b\n", "a\x00b\n", "a b\n")], [8], "train", 0.25)
    assert sentence is not None
    assert ["".join(piece.text for piece in line.pieces) for line in sentence.lines] == ["a b⏎", "a␀b⏎", "a␣b⏎"]
    assert visible("\u202e\ud800\x7f\t") == "��␡⇥"
    assert escaped("<b a='1'>\x1b") == "&lt;b a=&#x27;1&#x27;&gt;␛"


def test_sentences_are_typeset_and_names_are_not() -> None:
    assert (
        typeset("at size 8192 the gap -0.05 (-0.1 to 0.02)") == "at size 8,192 the gap \u22120.05 (\u22120.1 to 0.02)"
    )
    assert typeset("run DiT-n2048-s0-83591385 at t = 0.12345") == "run DiT-n2048-s0-83591385 at t = 0.12345"
