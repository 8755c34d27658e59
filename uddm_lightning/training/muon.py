"""Muon for the weight matrices of a network, and AdamW for its other parameters."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least, check_within

# Coefficients of an odd polynomial of degree 5 that moves singular values towards 1 (Jordan 2024)
A, B, C = 3.4445, -4.7750, 2.0315
TINY = 1e-14  # smallest squared norm of a gradient that is divided by


class MuonAdamW(torch.optim.Optimizer):
    """Muon for weight matrices, with a learning rate of its own, and AdamW for all other parameters.

    Muon replaces the averaged gradient of a matrix by the nearest semi-orthogonal matrix, approximately, so that every
    direction is learned at the same speed. The approximation is computed in float32 on the Gram matrices of the smaller
    side, those of equal size in one product. Without half-precision products this is faster than `torch.optim.Muon`
    on a CPU.

    Embeddings, the output layer and the layers of the noise level stay with AdamW.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".

    Args:
        params: pairs of name and parameter, as `named_parameters()` yields them.
        lr: learning rate of AdamW, at least 0.
        muon_lr: learning rate of Muon, at least 0, for matrices that are not taller than wide. A matrix with r rows and
            c < r columns takes sqrt(r / c) times this rate.
        betas: decays of the averages of AdamW, each in [0, 1).
        eps: added to the denominator of AdamW, above 0.
        weight_decay: decay of all parameters, relative to their learning rates, at least 0.
        momentum: decay of the average of Muon, in [0, 1). The step uses Nesterov's momentum.
        orthogonalization_steps: applications of the polynomial, at least 1.
        adamw_names: parts of names; AdamW trains the matrices whose names contain one of them.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.training.muon import MuonAdamW
        >>> backbone = DiT(27, hidden_size=32, n_blocks=1, n_heads=2)
        >>> optimizer = MuonAdamW(backbone.named_parameters(), lr=2e-3, muon_lr=2e-2)
        >>> backbone(torch.zeros(2, 8).long(), torch.ones(2)).sum().backward()
        >>> optimizer.step()
        >>> [len(group["params"]) for group in optimizer.param_groups]
        [4, 16]
    """

    takes_names: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[tuple[str, Tensor]],
        lr: float = 1e-3,
        muon_lr: float = 2e-2,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        orthogonalization_steps: int = 5,
        adamw_names: Sequence[str] = ("embed", "output_layer", "sigma_map", "adaLN"),
    ) -> None:
        check_within("[0, inf)", lr=lr, muon_lr=muon_lr, weight_decay=weight_decay)
        check_within("[0, 1)", beta1=betas[0], beta2=betas[1], momentum=momentum)
        check_within("(0, inf)", eps=eps)
        check_at_least(1, orthogonalization_steps=orthogonalization_steps)
        matrices: list[tuple[str, Tensor]] = []
        others: list[tuple[str, Tensor]] = []
        for name, parameter in params:
            is_matrix = parameter.ndim == 2 and not any(part in name for part in adamw_names)
            (matrices if is_matrix else others).append((name, parameter))
        groups: list[dict[str, Any]] = [
            {"params": matrices, "lr": muon_lr, "momentum": momentum, "muon": True},
            {"params": others, "momentum": 0.0, "muon": False},
        ]
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        self.orthogonalization_steps = orthogonalization_steps
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
            (self._muon_step if group["muon"] else self._adamw_step)(parameters, group)
        return loss

    def _averages(self, name: str, parameters: list[Tensor]) -> list[Tensor]:
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]

    def _muon_step(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        gradients = _gradients(matrices)
        averages = self._averages("momentum_buffer", matrices)
        torch._foreach_lerp_(averages, gradients, 1.0 - group["momentum"])
        directions = torch._foreach_lerp(gradients, averages, group["momentum"])
        for matrix, update in zip(matrices, orthogonalize(directions, self.orthogonalization_steps), strict=True):
            rows, columns = matrix.shape
            matrix.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _adamw_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = _gradients(parameters)
        (beta1, beta2), lr = group["betas"], group["lr"]
        means = self._averages("exp_avg", parameters)
        squares = self._averages("exp_avg_sq", parameters)
        torch._foreach_lerp_(means, gradients, 1.0 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - beta2)
        for parameter in parameters:
            self.state[parameter]["step"] = self.state[parameter].get("step", 0) + 1
        finished = [self.state[parameter]["step"] for parameter in parameters]
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [(1.0 - beta2**n) ** 0.5 for n in finished])
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_addcdiv_(parameters, means, roots, [-lr / (1.0 - beta1**n) for n in finished])


def orthogonalize(matrices: Sequence[Tensor], steps: int = 5) -> list[Tensor]:
    """Return matrices with the same singular vectors, whose singular values are near 1 unless they are very small.

    An odd polynomial p of degree 5 is applied to the singular values `steps` times, after a division by the Frobenius
    norm. With G = X X' it is X -> (a + b G + c G^2) X. All steps are products of polynomials of the first G, so only
    square matrices of the smaller side are multiplied, and the result is multiplied by X once.

    Args:
        matrices: matrices (r, c) of any shapes.
        steps: applications of the polynomial.

    Returns:
        Matrices of the same shapes, in at least float32. With 5 steps, singular values above 1e-2 of the norm become
        0.65 to 1.25.

    Example:
        >>> import torch
        >>> from uddm_lightning.training.muon import orthogonalize
        >>> (matrix,) = orthogonalize([torch.tensor([[3.0, 0.0], [0.0, -1.0]])])
        >>> matrix.abs().diagonal().round(decimals=1)
        tensor([0.8000, 1.1000])
    """
    # half precision would lose the small singular values
    full = [matrix.to(torch.promote_types(matrix.dtype, torch.float32)) for matrix in matrices]
    wide = [matrix if _is_wide(matrix) else matrix.T for matrix in full]
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, matrix in enumerate(wide):
        by_size[len(matrix)].append(index)
    found = list(wide)
    for indices in by_size.values():
        gram = torch.stack([wide[index] @ wide[index].T for index in indices])
        norm = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].clamp(min=TINY)
        gram = gram / norm
        product = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device).expand_as(gram)
        for _ in range(steps):
            factor = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
            factor.diagonal(dim1=1, dim2=2).add_(A)
            product = factor @ product
            gram = gram @ factor @ factor
        for index, left in zip(indices, product * norm.rsqrt(), strict=True):
            found[index] = left @ wide[index]
    return [update if _is_wide(matrix) else update.T for update, matrix in zip(found, full, strict=True)]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _is_wide(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]
