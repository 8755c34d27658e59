"""Numbers and texts as the report prints them."""

from tests.report.test_sentences import sequence
from uddm_lightning.report import sentences as text
from uddm_lightning.report.formatting import escaped, visible


def test_marked_spaces_and_control_characters_are_visible():
    sentence = text.choose([sequence(8, "a b\n", "a\x00b\n", "a b\n")], [8], "train", 0.25)
    assert sentence is not None
    assert ["".join(piece.text for piece in line.pieces) for line in sentence.lines] == ["a b⏎", "a␀b⏎", "a␣b⏎"]
    assert visible("\u202e\ud800\x7f\t") == "��␡⇥"
    assert escaped("<b a='1'>\x1b") == "&lt;b a=&#x27;1&#x27;&gt;␛"
