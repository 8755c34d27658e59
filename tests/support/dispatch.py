"""Count the operations of PyTorch, and those for which the host waits for a device."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

HOST_READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique2")


class OperationCounter(TorchDispatchMode):
    """Count operations by name.

    Attributes:
        operations: numbers of calls.
        synchronisations: operations for which the host waits: values read by the host, results whose shape depends on
            values, and copies between devices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.synchronisations: list[str] = []

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if func.namespace == "prim":  # questions about a tensor, such as its device
            return func(*args, **(kwargs or {}))
        self.operations[name] += 1
        given = [value for value in args if isinstance(value, Tensor)]
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if (name in HOST_READS or by_mask) and any(value.device.type != "cpu" for value in given):
            self.synchronisations.append(name)
        result = func(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_") and len({value.device for value in (*given, result)}) > 1:
            self.synchronisations.append(name)
        return result
