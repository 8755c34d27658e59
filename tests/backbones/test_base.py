"""Contract tests of backbones."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.plugins import cases, make, plugins
from uddm_lightning.backbones import Backbone, DiT, SoftBackbone, TextStatistics
from uddm_lightning.core.batch import SoftTokens
from uddm_lightning.core.markov_chain import MarkovChain

V, B, L = 6, 8, 7


@pytest.mark.parametrize(("cls", "options"), cases(Backbone))
class TestBackbone:
    def ready(self, cls: type, options: dict[str, Any]) -> Backbone:
        torch.manual_seed(0)
        backbone: Backbone = make(cls, V, **options)
        rows = torch.randint(V, (5, L), generator=torch.Generator().manual_seed(3))
        unigram = torch.softmax(torch.arange(V, dtype=torch.float64), 0)
        backbone.prepare(TextStatistics(lambda: rows, unigram, MarkovChain.random(V, sharpness=1.0, seed=3)))
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return backbone.double().eval()

    def ask(self, backbone: Backbone, tokens: Tensor, sigma: Tensor, valid: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            hidden = backbone(tokens, sigma, valid)
            assert hidden.shape[:2] == tokens.shape
            return backbone.head(hidden.flatten(0, 1)).view(*tokens.shape, V)

    def some(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(2)
        return torch.randint(V, (B, L), generator=generator), torch.linspace(0.01, 5.0, B, dtype=torch.float64)

    def test_logits(self, cls: type, options: dict[str, Any]) -> None:
        backbone = self.ready(cls, options)
        assert backbone.vocab_size == V
        out = self.ask(backbone, *self.some())
        assert out.dtype == torch.float64
        assert not out.isnan().any()
        assert out.isfinite().any(-1).all()
        assert torch.equal(self.ask(backbone, *self.some()), out)

    def test_a_row_does_not_depend_on_its_batch(self, cls: type, options: dict[str, Any]) -> None:
        backbone, (tokens, sigma) = self.ready(cls, options), self.some()
        whole = self.ask(backbone, tokens, sigma)
        parts = [self.ask(backbone, a, b) for a, b in zip(tokens.split(3), sigma.split(3), strict=True)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)

    def test_padding_is_ignored_and_fillers_have_no_effect(self, cls: type, options: dict[str, Any]) -> None:
        backbone, (tokens, sigma) = self.ready(cls, options), self.some()
        valid = torch.arange(L) < torch.arange(B)[:, None]
        base = self.ask(backbone, tokens, sigma, valid)
        assert not base.isnan().any()
        other = self.ask(backbone, tokens.where(valid, (tokens + 1) % V), sigma, valid)
        torch.testing.assert_close(other[valid], base[valid], rtol=0, atol=1e-12)
        every = self.ask(backbone, tokens, sigma, torch.ones_like(valid))
        torch.testing.assert_close(every, self.ask(backbone, tokens, sigma), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cls", "options"), [case for case in cases(Backbone) if case.values[0].capturable])
def test_a_capturable_network_is_one_graph(cls: type, options: dict[str, Any]) -> None:
    """A read of a value on the host would break the graph."""
    contract = TestBackbone()
    backbone, (tokens, sigma) = contract.ready(cls, options), contract.some()
    torch._dynamo.reset()
    network = torch.compile(backbone, backend="eager", fullgraph=True)
    with torch.no_grad():
        for valid in (None, torch.arange(L) < torch.arange(B)[:, None]):
            assert torch.equal(network(tokens, sigma, valid), backbone(tokens, sigma, valid))


@pytest.mark.parametrize(("cls", "options"), cases(SoftBackbone))
class TestSoftBackbone:
    def read(self, cls: type, options: dict[str, Any], tokens: Tensor | SoftTokens) -> Tensor:
        backbone = TestBackbone().ready(cls, options)
        with torch.no_grad():
            found: Tensor = backbone(tokens, torch.linspace(0.01, 5.0, B, dtype=torch.float64))
        return found

    def mixed(self) -> SoftTokens:
        generator = torch.Generator().manual_seed(2)
        ids = torch.rand(B, L, V, generator=generator).argsort(-1)[..., :3]
        return SoftTokens(ids, torch.softmax(torch.randn(B, L, 3, generator=generator, dtype=torch.float64), -1))

    def test_a_mixture_of_one_id_is_that_id(self, cls: type, options: dict[str, Any]) -> None:
        ids, weights = self.mixed()
        sure = SoftTokens(ids, torch.zeros_like(weights).index_fill(2, torch.tensor(1), 1.0))
        torch.testing.assert_close(self.read(cls, options, sure), self.read(cls, options, ids[..., 1]))

    def test_order_and_ids_without_weight_have_no_effect(self, cls: type, options: dict[str, Any]) -> None:
        ids, weights = self.mixed()
        base = self.read(cls, options, SoftTokens(ids, weights))
        torch.testing.assert_close(self.read(cls, options, SoftTokens(ids.flip(2), weights.flip(2))), base)
        other = torch.arange(V).expand(B, L, V)
        outside = other[(other[..., None] != ids[:, :, None]).all(-1)].view(B, L, V - 3)[..., :1]
        more = SoftTokens(torch.cat([ids, outside], 2), torch.cat([weights, 0 * weights[..., :1]], 2))
        torch.testing.assert_close(self.read(cls, options, more), base)
        assert (self.read(cls, options, ids[..., 0]) - base).abs().max() > 1e-3


def test_default_backbone_is_covered() -> None:
    assert DiT in plugins(Backbone)
