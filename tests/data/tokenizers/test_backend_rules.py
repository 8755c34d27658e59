"""Rules for special tokens and for text that a tokenizer cannot encode."""

import re

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from uddm_lightning.data.tokenizers.backend_rules import BackendRules

UNKNOWN = "[UNK]"


def backend(unknown: bool = True) -> tokenizers.Tokenizer:
    words = ["a", "b", "[SEP]", *([UNKNOWN] if unknown else [])]
    made = tokenizers.Tokenizer(models.WordLevel({word: one for one, word in enumerate(words)}, UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["[SEP]"])
    made.add_tokens(["c d"])
    return made


def test_special_ids_become_unknown_text_or_nothing() -> None:
    with_unknown, without = (BackendRules.from_backend(backend(one), {0, None}) for one in (True, False))
    assert (with_unknown.special_ids, with_unknown.unknown_id, with_unknown.textless_ids) == ({0, 2}, 3, {0, 2, 3})
    assert with_unknown.replace_special([1, 2, 0, 1]) == [1, 3, 3, 1]
    assert (without.unknown_id, without.replace_special([1, 2, 0, 1])) == (None, [1, 1])
    same = [1, 3]
    assert with_unknown.replace_special(same) is same


def test_lost_characters_are_unknown_or_dropped() -> None:
    made = backend()
    rules = BackendRules.from_backend(made, set())
    assert rules.lost_characters("a é b", made.encode("a é b")) == ([], ["é"])
    assert re.fullmatch(rules.added_token_pattern, "c d")
    assert not rules.context_pattern.search("a [SEP] b")
    bare = backend(unknown=False)
    assert BackendRules.from_backend(bare, set()).context_pattern.search("a [SEP] b")
    assert BackendRules.from_backend(bare, set()).lost_characters("a é", bare.encode("a")) == (["é"], [])


@pytest.mark.parametrize(("step", "removes"), [(normalizers.Replace("x", " "), True), (normalizers.Lowercase(), False)])
def test_a_backend_that_removes_text_makes_every_line_depend_on_its_context(
    step: normalizers.Normalizer, removes: bool
) -> None:
    made = backend()
    made.normalizer = normalizers.Sequence([step])
    found = BackendRules.from_backend(made, set()).context_pattern.search("a b")
    assert (found is not None) == removes
