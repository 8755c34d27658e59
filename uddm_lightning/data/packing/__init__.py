"""Packings: arrange text in rows of equal length."""

from uddm_lightning.data.packing.base import PackedRows, Packing
from uddm_lightning.data.packing.document import DocumentPacking
from uddm_lightning.data.packing.wrapped import WrappedPacking

__all__ = ["DocumentPacking", "PackedRows", "Packing", "WrappedPacking"]
