"""Text as batches: sources, tokenizers, packings, nested subsets and datasets of keyed batches."""

from uddm_lightning.data.corpus import Corpus, prepare_corpus
from uddm_lightning.data.detokenizers.base import Detokenizer
from uddm_lightning.data.detokenizers.lm1b import LM1BDetokenizer
from uddm_lightning.data.detokenizers.wikitext import WikiTextDetokenizer
from uddm_lightning.data.eval_dataset import EvalDataset
from uddm_lightning.data.module import TextDataModule
from uddm_lightning.data.packing.base import PackedRows, Packing
from uddm_lightning.data.packing.document import DocumentPacking
from uddm_lightning.data.packing.wrapped import WrappedPacking
from uddm_lightning.data.rows import Rows
from uddm_lightning.data.sources.base import Document, Source, SourceDistribution
from uddm_lightning.data.sources.detokenized import Detokenized
from uddm_lightning.data.sources.files import TextFiles
from uddm_lightning.data.sources.hub import HubDataset
from uddm_lightning.data.sources.markov import MarkovSource
from uddm_lightning.data.sources.sotu import SotuSpeeches
from uddm_lightning.data.subset import Subset
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.bpe import BPETokenizer
from uddm_lightning.data.tokenizers.characters import CharacterTokenizer
from uddm_lightning.data.tokenizers.pretrained import PretrainedTokenizer
from uddm_lightning.data.tokenizers.wordpiece import WordPieceTokenizer
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
