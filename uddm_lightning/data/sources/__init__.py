"""Sources of text."""

from uddm_lightning.data.sources.base import Document, Source, SourceDistribution
from uddm_lightning.data.sources.detokenized import Detokenized
from uddm_lightning.data.sources.files import TextFiles
from uddm_lightning.data.sources.hub import HubDataset
from uddm_lightning.data.sources.markov import MarkovSource
from uddm_lightning.data.sources.sotu import SotuSpeeches

__all__ = [
    "Detokenized",
    "Document",
    "HubDataset",
    "MarkovSource",
    "SotuSpeeches",
    "Source",
    "SourceDistribution",
    "TextFiles",
]
