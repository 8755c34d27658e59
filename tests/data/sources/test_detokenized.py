"""Source of detokenized text."""

import json
from pathlib import Path

from tests.support.texts import ListSource
from uddm_lightning.data import Detokenized, Document, LM1BDetokenizer, TextFiles, WikiTextDetokenizer
from uddm_lightning.data.component_spec import component_spec
from uddm_lightning.data.detokenizers.base import Rule


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
    spec = json.loads(json.dumps(component_spec(source)))
    assert spec["init_args"]["source"]["init_args"]["paths"] == str(tmp_path / "a.txt")
    assert spec["init_args"]["detokenizer"]["class_path"].endswith("LM1BDetokenizer")
