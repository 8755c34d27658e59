"""Tokenizers: map lines of text to ids."""

from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.bpe import BPETokenizer
from uddm_lightning.data.tokenizers.characters import CharacterTokenizer
from uddm_lightning.data.tokenizers.pretrained import PretrainedTokenizer
from uddm_lightning.data.tokenizers.wordpiece import WordPieceTokenizer

__all__ = ["BPETokenizer", "CharacterTokenizer", "PretrainedTokenizer", "Tokenizer", "WordPieceTokenizer"]
