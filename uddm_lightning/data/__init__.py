"""Text as batches: sources, tokenizers, packings, nested subsets and datasets of keyed batches."""

from uddm_lightning.data.corpus import Corpus, prepare_corpus
from uddm_lightning.data.detokenizers import Detokenizer, LM1BDetokenizer, WikiTextDetokenizer
from uddm_lightning.data.eval_dataset import EvalDataset
from uddm_lightning.data.module import TextDataModule
from uddm_lightning.data.packing import DocumentPacking, PackedRows, Packing, WrappedPacking
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
    "PackedRows",
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
    "prepare_corpus",
]
