"""Simulated GPUs: tensors of this process that are said to be on devices, and compute there only with one another."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override


class SimulatedGpus(TorchFunctionMode):
    """Give each tensor a device, as `to`, `device=` and the operands of an operation determine it.

    All numbers are computed on the CPU. An operation on tensors of different devices fails, as it does on GPUs; tensors
    without dimensions are free, as there. Operations inside of one call of PyTorch are not watched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, tuple[str, torch.UntypedStorage]] = {}  # storages are kept: their addresses are the keys

    def place_of(self, tensor: Tensor) -> str:
        """Return the name of the device of a tensor."""
        return self._held.get(tensor.untyped_storage().data_ptr(), ("cpu",))[0]

    @override
    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return torch.device(self.place_of(args[0]))
        if func is torch.device and isinstance(args[0], int):
            return torch.device(_name(args[0]))
        if func is torch.Tensor.to:
            return self._moved(args[0], args[1:], kwargs)
        target = kwargs.pop("device", None)
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        places = {self.place_of(one) for one in tensors if one.dim() and one.numel()}
        if len(places) > 1:
            raise RuntimeError(f"{func} has tensors on {', '.join(sorted(places))}")
        place = next(iter(places), "cpu") if target is None else _name(target)
        found = func(*args, **kwargs)
        for one in tree_leaves(found):
            if isinstance(one, Tensor):
                self._put(one, place)
        return found

    def _moved(self, tensor: Tensor, given: Iterable[Any], named: Mapping[str, Any]) -> Tensor:
        """Return a tensor as `Tensor.to` does: itself if nothing changes, else a copy."""
        target, dtype = named.get("device"), named.get("dtype")
        for one in given:
            if isinstance(one, torch.dtype):
                dtype = one
            elif isinstance(one, Tensor):
                target, dtype = self.place_of(one), one.dtype
            elif isinstance(one, str | torch.device) or type(one) is int:  # not a bool
                target = one
        place = self.place_of(tensor) if target is None else _name(target)
        if place == self.place_of(tensor) and dtype in (None, tensor.dtype):
            return tensor
        found = tensor.to(dtype=dtype or tensor.dtype, copy=True)
        self._put(found, place)
        return found

    def _put(self, tensor: Tensor, place: str) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr():
            self._held[storage.data_ptr()] = (place, storage)


def _name(device: int | str | torch.device) -> str:
    return f"cuda:{device}" if isinstance(device, int) else str(device)
