"""Devices that only queue operations, on a machine without a GPU."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from uddm_lightning.core import devices

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero")


def run_as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the branches of an asynchronous device on the CPU."""
    monkeypatch.setattr(devices, "is_asynchronous", lambda device: True)


class HostReads(TorchDispatchMode):
    """List the operations for which the host waits for results, and copies between the host and the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [value for value in args if isinstance(value, Tensor)]
        placed = {value.device.type for value in (*given, result) if isinstance(value, Tensor)}
        chosen = args[1] if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in chosen)
        if func.overloadpacket._qualified_op_name in READS or by_mask or placed == {"cpu", "meta"}:
            self.found.append(str(func))
        return result
