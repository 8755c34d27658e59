"""BPETokenizer and WordPieceTokenizer, which learn their vocabulary."""

import pytest

from tests.support.texts import fitted
from uddm_lightning.data import BPETokenizer, WordPieceTokenizer

BYTE_PAIRS = fitted(BPETokenizer(280))


def test_special_tokens_of_learned_tokenizers() -> None:
    for tokenizer in (BYTE_PAIRS, fitted(WordPieceTokenizer(200))):
        assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id) == (0, 2, 3, 3)
        assert tokenizer.decode([2, 3]) == "[CLS] [SEP]" or tokenizer.decode([2, 3]) == "[CLS][SEP]"
        assert tokenizer.joiner_ids == [3]


def test_sizes_of_learned_tokenizers() -> None:
    assert BYTE_PAIRS.vocab_size == 280
    assert fitted(WordPieceTokenizer(150)).vocab_size == 150
    with pytest.raises(ValueError, match="`vocab_size` must be at least 260, got 259"):
        BPETokenizer(259)
    with pytest.raises(ValueError, match="`vocab_size` must be at least 5, got 4"):
        WordPieceTokenizer(4)


def test_case_of_learned_tokenizers() -> None:
    assert BPETokenizer(280, lowercase=True).spec()["init_args"] == {"lowercase": True, "vocab_size": 280}
    for lower in (fitted(BPETokenizer(280, lowercase=True)), fitted(WordPieceTokenizer(200))):
        assert lower.encode(["THE PERE"]) == lower.encode(["the pere"])
    for cased in (BYTE_PAIRS, fitted(WordPieceTokenizer(200, lowercase=False))):
        assert cased.encode(["Père"]) != cased.encode(["père"])


@pytest.mark.parametrize("kind", [BPETokenizer, WordPieceTokenizer])
def test_learning_is_deterministic(kind: type[BPETokenizer] | type[WordPieceTokenizer]) -> None:
    # the library's hash tables are seeded anew for each training
    assert len({fitted(kind(300)).to_json() for _ in range(4)}) == 1


def test_an_unfitted_tokenizer_raises() -> None:
    with pytest.raises(RuntimeError, match="BPETokenizer has no vocabulary"):
        BPETokenizer().encode(["a"])
