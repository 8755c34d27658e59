"""A critic that is a language model in the hub's format."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.support.critics import L, V, critic_text, text
from uddm_lightning.core.errors import InputError
from uddm_lightning.critics import HubCritic
from uddm_lightning.metrics import SampleNeighbours


def test_a_missing_package_is_named_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs `transformers`: pip install 'uddm-lightning\[critic\]'"):
        HubCritic("gpt2").fit(critic_text(text()))


@pytest.fixture
def folder(tmp_path):
    """Write a tiny GPT-2 with random weights and one token per character in the hub's format."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `critic`")
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.WordLevel({str(digit): digit for digit in range(5)} | {"?": 5}, unk_token="?"))  # noqa: S106 no password
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="?").save_pretrained(tmp_path)  # noqa: S106 no password
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=6, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_a_hub_model_scores_text_in_its_own_tokens(folder):
    import transformers

    critic = HubCritic(str(folder), batch_size=2)
    critic.fit(critic_text(text()))
    rows_BL = text(5, 3)
    counted_BL = torch.ones(5, L).bool()
    counted_BL[0, 4:] = False
    counted_BL[4, 1:] = False  # a single token has no history
    scores = critic.score(rows_BL, counted_BL)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    for row, counted, nll_M, counted_M in zip(rows_BL, counted_BL, *scores, strict=True):
        kept = row[counted]
        logp = network(kept[None]).logits[0].detach().double().log_softmax(-1)
        expected = [-float(logp[place, kept[place + 1]]) for place in range(len(kept) - 1)]
        assert nll_M[counted_M].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_missing_model_is_named(folder, tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        HubCritic(str(tmp_path / "nothing")).fit(critic_text(text()))


class FakeTransformers:
    """Stand-in for transformers: a tokenizer with one token per word and a network with uniform predictions."""

    class Tokenizer:
        def __call__(self, texts, truncation=False, max_length=None):
            return {"input_ids": [[int(word) for word in text.split()][:max_length] for text in texts]}

    class Network:
        class config:
            max_position_embeddings = 4

        def eval(self):
            return self

        def to(self, device):
            return self

        def __call__(self, ids_BM, attention_mask):
            assert ids_BM.dtype is torch.int64
            assert ids_BM.shape[1] > 1
            return SimpleNamespace(logits=torch.zeros(*ids_BM.shape, V))

    loaded = 0

    def __init__(self):
        self.AutoTokenizer = SimpleNamespace(from_pretrained=lambda name: self.Tokenizer())
        self.AutoModelForCausalLM = SimpleNamespace(from_pretrained=self.network)

    def network(self, name):
        self.loaded += 1
        return self.Network()


@pytest.mark.parametrize("counts", [(0, 0, 0), (0, 1, 0), (3, 0, 1), (0, 6, 2)])
def test_rows_without_text_add_nothing(monkeypatch, counts):
    monkeypatch.setitem(sys.modules, "transformers", FakeTransformers())
    critic = HubCritic("some/model", batch_size=2)
    critic.fit(critic_text(text()))
    rows_BL = text(3)
    scores = critic.score(rows_BL, torch.arange(L) < torch.tensor(counts)[:, None])
    assert scores.counted_BM.sum(1).tolist() == [max(0, min(4, count) - 1) for count in counts]
    assert scores.nll_BM[scores.counted_BM].tolist() == pytest.approx([math.log(V)] * int(scores.counted_BM.sum()))
    metric = SampleNeighbours(length=L, memorized_within=0.1, spurious_within=0.1)
    zeros_B = torch.zeros(3)
    metric.update(rows_BL, torch.arange(3), torch.full((3,), L), zeros_B, zeros_B, zeros_B, *scores)
    perplexity = float(metric.compute().generative_perplexity)
    assert perplexity == pytest.approx(V) if max(counts) > 1 else math.isnan(perplexity)


def test_a_model_is_loaded_once(monkeypatch):
    library = FakeTransformers()
    monkeypatch.setitem(sys.modules, "transformers", library)
    critic = HubCritic("some/model")
    critic.check_requirements()
    assert library.loaded == 0
    critic.load()
    critic.fit(critic_text(text()))
    assert library.loaded == 1
