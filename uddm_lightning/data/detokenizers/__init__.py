"""Detokenizers: undo the tokenization of benchmark corpora."""

from uddm_lightning.data.detokenizers.base import Detokenizer, Rule
from uddm_lightning.data.detokenizers.lm1b import LM1BDetokenizer
from uddm_lightning.data.detokenizers.wikitext import WikiTextDetokenizer

__all__ = ["Detokenizer", "LM1BDetokenizer", "Rule", "WikiTextDetokenizer"]
