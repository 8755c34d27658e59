import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.texts import ListSource
from uddm_lightning.data import Detokenized, Detokenizer, Document, LM1BDetokenizer, TextFiles, WikiTextDetokenizer
from uddm_lightning.data.component_spec import describe
from uddm_lightning.data.detokenizers import Rule

# Sentences as the corpora write them, and as people do.
LM1B = [
    ("Schools closed , then reopened .", "Schools closed, then reopened."),
    ("The U.S. Centers said so on Monday .", "The U.S. Centers said so on Monday."),
    ("It 's a $ 5 ( or so ) deal .", "It's a $5 (or so) deal."),
    ('" We \'ll see , " he said .', '"We\'ll see," he said.'),
    ("Why ? Because !", "Why? Because!"),
    ("Who ?", "Who?"),
    ("One : two ; three", "One: two; three"),
    ("He paid £ 3 and / or $ 4 .", "He paid £3 and/or $4."),
    ("See http : / / example.com / a or https : / / b .", "See http://example.com/a or https://b ."),
    ("She [ the mayor ] left .", "She [the mayor] left."),
    ("the ' yes ' vote", "the 'yes' vote"),
    ("The first . The second .", "The first. The second."),
    # the limits that are kept
    ("They do n't , , , know .", "They do n't, ,, know."),
    ("Why .", "Why ."),
    ("( he left ) .", "(he left) ."),
    ("a . . . b", "a . . . b"),
]
WIKITEXT = [
    (" = Robert Boulter = ", "= Robert Boulter ="),
    (" = = Career = = ", "== Career =="),
    (" = = = 2000 = = = ", "=== 2000 ==="),
    ("It took 1 @,@ 000 @.@ 5 km of state @-@ owned road .", "It took 1,000.5 km of state-owned road ."),
    ('He said : " Yes " ( twice ) ; then left , and so on . End', 'He said: "Yes" (twice); then left, and so on. End'),
    ("the boys ' 30 ° angle , it 's", "the boys'30°angle, it's"),
    ("N stays N", "N stays N"),
]
SIGNS = st.sampled_from(["it", "'s", "the", "5", "a.b", *"'\".,?!:;/()[]{}$£=°", "http", "@-@", "@,@"])
TEXTS = st.lists(SIGNS, max_size=14).map(" ".join)


@pytest.mark.parametrize(("given_", "expected"), LM1B)
def test_lm1b_by_example(given_: str, expected: str) -> None:
    assert LM1BDetokenizer()(given_) == expected


@pytest.mark.parametrize(("given_", "expected"), WIKITEXT)
def test_wikitext_by_example(given_: str, expected: str) -> None:
    assert WikiTextDetokenizer()(given_) == expected


@pytest.mark.parametrize("expected", [expected for _, expected in LM1B[:9] if "'" not in expected])
def test_text_that_is_put_together_stays(expected: str) -> None:
    assert LM1BDetokenizer()(expected) == expected


@settings(max_examples=60, deadline=None)
@given(TEXTS | st.text())
def test_lm1b_takes_out_spaces_and_nothing_else(text: str) -> None:
    found = LM1BDetokenizer()(text)
    rest = iter(text)
    assert all(any(there == sign for there in rest) for sign in found), "in order"
    assert found.replace(" ", "") == text.replace(" ", "")


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_second_pass_comes_to_rest(text: str) -> None:
    """Each pass takes something out or changes nothing, so it ends."""
    detokenizer = LM1BDetokenizer()
    for _ in range(len(text) + 1):
        before, text = text, detokenizer(text)
        if text == before:
            break
        assert len(text) < len(before)
    assert detokenizer(text) == text


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_what_is_skipped_would_not_have_matched(text: str) -> None:
    for kind in (LM1BDetokenizer, WikiTextDetokenizer):
        searched = type("Searched", (kind,), {"rules": tuple(rule._replace(about="") for rule in kind.rules)})
        assert searched()(text) == kind()(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_every_line_stands_for_itself(lines: list[str]) -> None:
    for kind in (LM1BDetokenizer, WikiTextDetokenizer):
        assert kind()("\n".join(lines)).split("\n") == [kind()(line) for line in lines]


def test_the_base_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Detokenizer()


class Shouting(LM1BDetokenizer):
    rules = (*LM1BDetokenizer.rules, Rule(".", r"\.", "!"))


def test_a_source_is_rewritten_and_keeps_its_splits() -> None:
    source = Detokenized(ListSource([("a , b", "train"), ("c d .", "test")]), LM1BDetokenizer())
    assert list(source.documents()) == [Document("a, b", "train"), Document("c d.", "test")]
    assert list(source.documents()) == list(source.documents())
    assert source.distribution is None


def test_fingerprint_follows_text_and_rules() -> None:
    texts = ["a , b", "c ."]
    before = Detokenized(ListSource(texts), LM1BDetokenizer()).fingerprint()
    assert Detokenized(ListSource(texts), LM1BDetokenizer()).fingerprint() == before
    others = [
        ListSource(texts),
        Detokenized(ListSource(["a , b", "d ."]), LM1BDetokenizer()),
        Detokenized(ListSource(texts), WikiTextDetokenizer()),
        Detokenized(ListSource(texts), Shouting()),
    ]
    assert len({before, *(other.fingerprint() for other in others)}) == 1 + len(others)


def test_a_manifest_can_name_it(tmp_path: Path) -> None:
    source = Detokenized(TextFiles(str(tmp_path / "a.txt")), LM1BDetokenizer())
    spec = json.loads(json.dumps(describe(source)))
    assert spec["init_args"]["source"]["init_args"]["paths"] == str(tmp_path / "a.txt")
    assert spec["init_args"]["detokenizer"]["class_path"].endswith("LM1BDetokenizer")
