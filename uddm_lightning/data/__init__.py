"""From text to batches: sources, tokenizers, packing, nested subsets, and streams addressed by step."""

from uddm_lightning.data.corpus import Corpus, prepare
from uddm_lightning.data.detokenizers import Detokenizer, LM1BDetokenizer, WikiTextDetokenizer
from uddm_lightning.data.eval_dataset import EvalDataset
from uddm_lightning.data.module import TextDataModule, check_divides
from uddm_lightning.data.packing import Block, DocumentPacking, Packing, WrappedPacking
from uddm_lightning.data.rows import Rows
from uddm_lightning.data.sources import (
    Detokenized,
    Document,
    HubDataset,
    MarkovSource,
    SotuSpeeches,
    Source,
    SourceDistribution,
    TextFiles,
)
from uddm_lightning.data.subset import Subset
from uddm_lightning.data.tokenizers import (
    BPETokenizer,
    CharacterTokenizer,
    PretrainedTokenizer,
    Tokenizer,
    WordPieceTokenizer,
)
from uddm_lightning.data.train_dataset import TrainDataset

__all__ = [
    "BPETokenizer",
    "Block",
    "CharacterTokenizer",
    "Corpus",
    "Detokenized",
    "Detokenizer",
    "Document",
    "DocumentPacking",
    "EvalDataset",
    "HubDataset",
    "LM1BDetokenizer",
    "MarkovSource",
    "Packing",
    "PretrainedTokenizer",
    "Rows",
    "SotuSpeeches",
    "Source",
    "SourceDistribution",
    "Subset",
    "TextDataModule",
    "TextFiles",
    "Tokenizer",
    "TrainDataset",
    "WikiTextDetokenizer",
    "WordPieceTokenizer",
    "WrappedPacking",
    "check_divides",
    "prepare",
]
