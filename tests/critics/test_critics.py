"""Critics: the n-gram model against a direct count; a hub model where transformers is installed."""

import math
import sys
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.critics import CriticText, HubCritic, NgramCritic
from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.stats.ngrams import ABSENT

V, L = 3, 6


def text(rows=25, seed=0):
    return torch.randint(V - 1, (rows, L), generator=torch.Generator().manual_seed(seed))  # the last id never occurs


def critic_text(rows_NL, vocab_size=V):
    return CriticText(len(rows_NL), lambda ids: rows_NL[ids], vocab_size, lambda ids: " ".join(map(str, ids)))


def witten_bell(rows, order, history, word):
    """Return p(word | history) from the definition, by counting in lists."""
    if order == 0:
        return 1 / V
    history = history[max(0, len(history) - order + 1) :]
    followers = [
        row[start + len(history)]
        for row in rows
        for start in range(len(row) - len(history))
        if row[start : start + len(history)] == history
        and row[start + len(history)] != ABSENT
        and ABSENT not in history
    ]
    lower = witten_bell(rows, len(history), history[1:], word) if history else 1 / V
    kinds = len(set(followers))
    return (followers.count(word) + kinds * lower) / (len(followers) + kinds) if kinds else lower


@pytest.mark.parametrize("order", [1, 2, 4, 9])
def test_probabilities_are_those_of_witten_and_bell(order):
    rows_NL = text()
    rows_NL[3, 4:] = ABSENT
    critic = NgramCritic(order=order)
    critic.fit(critic_text(rows_NL))
    new_BL = torch.randint(V, (10, L), generator=torch.Generator().manual_seed(1))
    nll_BL = critic.nll(new_BL)
    for row, found in zip(new_BL.tolist(), nll_BL.tolist(), strict=True):
        expected = [-math.log(witten_bell(rows_NL.tolist(), order, row[:place], row[place])) for place in range(L)]
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_probabilities_sum_to_one_after_every_history(order):
    critic = NgramCritic(order=order)
    critic.fit(critic_text(text()))
    for history in product(range(V), repeat=4):
        candidates = torch.tensor([[*history, word] for word in range(V)])
        assert critic.nll(candidates)[:, -1].neg().exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    every = torch.tensor(list(product(range(V), repeat=5)))  # likewise over all rows
    assert critic.nll(every).sum(1).neg().exp().sum().item() == pytest.approx(1.0, abs=1e-10)


def test_a_training_row_has_a_small_nll():
    rows_NL = torch.arange(200).view(1, 200)
    critic = NgramCritic(order=3)
    critic.fit(critic_text(rows_NL, vocab_size=1000))
    assert critic.nll(rows_NL)[0, 2:].mean() < 0.9 < 5 < critic.nll(rows_NL.flip(1))[0, 2:].mean()


def test_the_fitted_rows_are_evenly_spaced_over_the_pool():
    asked = []
    rows_NL = text(100)

    def rows(ids):
        asked.append(ids.tolist())
        return rows_NL[ids]

    NgramCritic(num_rows=4).fit(CriticText(100, rows, V, str))
    assert asked == [[0, 25, 50, 75]]


def test_the_scores_count_the_given_positions():
    critic = NgramCritic(order=2)
    critic.fit(critic_text(text()))
    rows_BL, counted_BL = text(4, 5), torch.rand(4, L, generator=torch.Generator().manual_seed(2)) < 0.5
    scores = critic.score(rows_BL, counted_BL)
    assert torch.equal(scores.counted_BM, counted_BL)
    assert torch.equal(scores.nll_BM, critic.nll(rows_BL))  # positions that do not count are still history
    assert critic.name == "2-gram"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NgramCritic(order=0), "`order` must be at least 1, got 0"),
        (lambda: NgramCritic(num_rows=0), "`num_rows` must be at least 1, got 0"),
        (lambda: HubCritic("gpt2", batch_size=0), "`batch_size` must be at least 1, got 0"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("critic", [NgramCritic(), HubCritic("gpt2")])
def test_score_before_fit_raises(critic):
    with pytest.raises(RuntimeError, match="call `fit` first"):
        critic.score(text(2), torch.ones(2, L).bool())


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
