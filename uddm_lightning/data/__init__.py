"""Text as batches: sources, tokenizers, packings, nested subsets and datasets of keyed batches."""

from uddm_lightning.data.canaries import Canaries as Canaries
from uddm_lightning.data.corpus import Corpus as Corpus
from uddm_lightning.data.corpus import prepare_corpus as prepare_corpus
from uddm_lightning.data.detokenizers.base import Detokenizer as Detokenizer
from uddm_lightning.data.detokenizers.lm1b import LM1BDetokenizer as LM1BDetokenizer
from uddm_lightning.data.detokenizers.wikitext import WikiTextDetokenizer as WikiTextDetokenizer
from uddm_lightning.data.eval_dataset import EvalDataset as EvalDataset
from uddm_lightning.data.module import TextDataModule as TextDataModule
from uddm_lightning.data.packing.base import PackedRows as PackedRows
from uddm_lightning.data.packing.base import Packing as Packing
from uddm_lightning.data.packing.document import DocumentPacking as DocumentPacking
from uddm_lightning.data.packing.wrapped import WrappedPacking as WrappedPacking
from uddm_lightning.data.rows import Rows as Rows
from uddm_lightning.data.sources.base import (
    Document as Document,
)
from uddm_lightning.data.sources.base import (
    Source as Source,
)
from uddm_lightning.data.sources.base import (
    SourceDistribution as SourceDistribution,
)
from uddm_lightning.data.sources.detokenized import Detokenized as Detokenized
from uddm_lightning.data.sources.files import TextFiles as TextFiles
from uddm_lightning.data.sources.hub import HubDataset as HubDataset
from uddm_lightning.data.sources.markov import MarkovSource as MarkovSource
from uddm_lightning.data.sources.sotu import SotuSpeeches as SotuSpeeches
from uddm_lightning.data.sources.spins import SpinPatterns as SpinPatterns
from uddm_lightning.data.subset import Subset as Subset
from uddm_lightning.data.tokenizers.base import Tokenizer as Tokenizer
from uddm_lightning.data.tokenizers.bpe import BPETokenizer as BPETokenizer
from uddm_lightning.data.tokenizers.characters import CharacterTokenizer as CharacterTokenizer
from uddm_lightning.data.tokenizers.pretrained import PretrainedTokenizer as PretrainedTokenizer
from uddm_lightning.data.tokenizers.wordpiece import WordPieceTokenizer as WordPieceTokenizer
from uddm_lightning.data.train_dataset import TrainDataset as TrainDataset
