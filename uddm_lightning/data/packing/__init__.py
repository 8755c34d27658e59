"""How text is laid into rows of one length."""

from uddm_lightning.data.packing.base import Block, Packing
from uddm_lightning.data.packing.document import DocumentPacking
from uddm_lightning.data.packing.wrapped import WrappedPacking

__all__ = ["Block", "DocumentPacking", "Packing", "WrappedPacking"]
