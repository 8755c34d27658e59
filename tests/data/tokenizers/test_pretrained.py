"""PretrainedTokenizer: vocabularies from files and from the hub."""

from pathlib import Path

import pytest

from tests.support.texts import LETTERS, VOCABULARY
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import CharacterTokenizer, PretrainedTokenizer
from uddm_lightning.data.tokenizers import pretrained


def test_vocabulary_of_bert(vocabulary: str) -> None:
    tokenizer = PretrainedTokenizer(vocabulary)
    tokenizer.fit(["ignored"])
    assert tokenizer.vocab_size == len(VOCABULARY)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id) == (2, 3, 3, 0)
    assert tokenizer.encode(["Thé States[SEP] nothing"]) == [[8, 9, 10, 5, 7, 6, 1]]
    assert tokenizer.decode([2, 8, 9, 10, 3]) == "[CLS] the states [SEP]"


def test_names_of_special_tokens(tmp_path: Path, vocabulary: str) -> None:
    named = PretrainedTokenizer(vocabulary, bos="[MASK]", separator="")
    assert (named.bos_id, named.eos_id, named.separator_id) == (4, 3, None)
    with pytest.raises(InputError, match=r"`eos` is '</s>', which is not a token of `.*vocab\.txt`; set it"):
        PretrainedTokenizer(vocabulary, eos="</s>")

    path = tmp_path / "tokenizer.json"
    for names, expected in (
        (["<s>", "</s>", "<pad>"], ["<s>", "</s>", "</s>", "<pad>"]),
        (["<|endoftext|>"], ["<|endoftext|>"] * 4),
        ([], [None] * 4),
    ):
        backend = CharacterTokenizer(LETTERS).backend
        backend.add_special_tokens(list(names))
        backend.enable_truncation(2)
        backend.enable_padding()
        path.write_text(backend.to_str(), encoding="utf-8")
        tokenizer = PretrainedTokenizer(str(path))
        ids = [tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id]
        assert [None if number is None else tokenizer.decode_token(number) for number in ids] == expected
        assert tokenizer.vocab_size == 27 + len(names)
        assert [len(ids) for ids in tokenizer.encode(["a", "abc"])] == [1, 3], "neither cut nor padded"


def test_spec_of_a_file_follows_its_content(tmp_path: Path) -> None:
    path, copy = tmp_path / "one.json", tmp_path / "two.json"
    path.write_text(CharacterTokenizer("ab").to_json(), encoding="utf-8")
    copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    before = PretrainedTokenizer(str(path)).spec()
    assert PretrainedTokenizer(str(copy)).spec() == before
    path.write_text(CharacterTokenizer("ba").to_json(), encoding="utf-8")
    assert PretrainedTokenizer(str(path)).spec() != before


def test_bad_files(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.json", b"{}", r"a\.json` cannot be loaded \(.*check the file"),
        ("vocab.txt", b"one\ntwo", r"vocab\.txt` is not a BERT vocabulary: it has no \[UNK\]"),
        ("vocab.txt", b"\xff", r"vocab\.txt` cannot be loaded"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            PretrainedTokenizer(str(tmp_path / name))
    with pytest.raises(InputError, match=r"Tokenizer file `.*no\.json` does not exist"):
        PretrainedTokenizer(str(tmp_path / "no.json"))
    with pytest.raises(InputError, match=r"Tokenizer `no/such` cannot be loaded .*check the name and the network"):
        PretrainedTokenizer("no/such")


def test_a_name_that_the_hub_does_not_give_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(url: str) -> None:
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(pretrained, "_failures", {})
    for _ in range(3):
        with pytest.raises(InputError, match=r"`toy/model` cannot be loaded \(OSError: no network\)"):
            pretrained.PretrainedTokenizer("toy/model")
    assert len(asked) == 1
