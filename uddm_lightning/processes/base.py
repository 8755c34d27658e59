"""The contract of a forward process: how noise enters a text, and how one step of it is undone.

Shapes: B rows, L positions, N tokens (any subset of the B * L), V ids in the vocabulary.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from uddm_lightning.core.batch import Noised
from uddm_lightning.processes.parameterization import Parameterization
from uddm_lightning.processes.schedules import Level, Schedule


class Process(ABC):
    """A noise process on token ids with its exact reverse step and its likelihood bound.

    Args:
        vocab_size: V, number of ids; at least 2.
        schedule: signal level as a function of time.
    """

    def __init__(self, vocab_size: int, schedule: Schedule) -> None:
        if vocab_size < 2:
            raise ValueError(f"`vocab_size` must be at least 2, got {vocab_size}: a vocabulary of one has no noise.")
        self.vocab_size = vocab_size
        self.schedule = schedule

    @property
    def mask_id(self) -> int | None:
        """The id that noise writes in place of a token, V; None where noise writes ids of the vocabulary."""
        return None

    @property
    def num_states(self) -> int:
        """Number of ids that a network must be able to read: V, and the mask where there is one."""
        return self.vocab_size + (self.mask_id is not None)

    def prediction_mask(self, xt: Tensor) -> Tensor:
        """True, bool of any shape, where a prediction means something: noise may have been here.

        Elsewhere the loss trains nothing, so that nothing there may be measured, and the chain moves nothing.
        """
        return torch.ones_like(xt, dtype=torch.bool)

    def prior(self, tokens_BL: Tensor) -> Tensor:
        """Rows of uniform random tokens as they are at t = 1, where the chains of samples begin, int64 (B, L)."""
        return tokens_BL

    def mask_position(self, x0_BL: Tensor, position_B: Tensor) -> Tensor:
        """Clean rows as the network must see them to be asked what stands at one position of each, int64 (B, L).

        A leave-one-out prediction that reads its own token without heeding it can be asked for everywhere at once.
        """
        return x0_BL

    def change_probability(self, alpha: Tensor) -> Tensor:
        """Probability that noise has changed a token, of the shape of `alpha`; one may be redrawn as itself."""
        return (1.0 - alpha) * (1.0 if self.mask_id is not None else 1.0 - 1.0 / self.vocab_size)

    def compile(self) -> None:
        """Has `torch.compile` fuse the passes over the vocabulary in the loss, where a process knows how."""
        return

    def level(self, t: Tensor) -> Level:
        """Signal level at times `t`, any shape."""
        return self.schedule(t)

    @abstractmethod
    def corrupt(self, x0_BL: Tensor, t_B: Tensor, keys_B: Tensor, valid_BL: Tensor | None = None) -> Noised:
        """Draws x_t ~ q(x_t | x_0); padding is left as it is. The draw is a function of (key, t, position) alone."""

    @abstractmethod
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, prediction: Parameterization
    ) -> Tensor:
        """Leave-one-out log-probabilities (N, V), up to a constant of each token, from raw logits of any meaning.

        The network has a logit for every state that it reads; what comes back is about the V ids of text alone. The
        dtype of `logits_NV` is kept, and its values are, too.
        """

    def leave_one_out(self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, prediction: Parameterization) -> Tensor:
        """The same normalised."""
        return torch.log_softmax(self.leave_one_out_logits(logits_NV, xt_N, alpha_N, prediction), dim=1)

    @abstractmethod
    def nelbo(self, logp_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor) -> Tensor:
        """Continuous-time negative evidence lower bound per token and unit of time (N,), in nats."""

    def nelbo_of_logits(
        self,
        logits_NV: Tensor,
        x0_N: Tensor,
        xt_N: Tensor,
        alpha_N: Tensor,
        slope_N: Tensor,
        prediction: Parameterization,
    ) -> Tensor:
        """The same from raw logits that mean `prediction`; a process may know its gradient in closed form."""
        logp_NV = self.leave_one_out(logits_NV, xt_N, alpha_N, prediction)
        return self.nelbo(logp_NV, x0_N, xt_N, alpha_N, slope_N)

    @abstractmethod
    def posterior(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        """Reverse probabilities q(x_s | x_t, p) of all states, dense: for inspection and tests, not for sampling."""

    @abstractmethod
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        """Draws x_s ~ q(x_s | x_t, p), int64 (N,), without building the dense posterior; keyed by `keys_N`."""

    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        """False, bool (N,), where `step` with these keys stays at x_t whatever the predictions are.

        A chain asks the network about the other tokens only.
        """
        return torch.ones_like(keys_N, dtype=torch.bool)

    @abstractmethod
    def argmax_step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        """The id of largest reverse probability q(x_s | x_t, p), int64 (N,)."""

    @abstractmethod
    def chance(self, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, unigram_V: Tensor) -> Tensor:
        """Probability with which the exact unigram model restores each token (N,), float64."""

    def coincidence(self, unigram_V: Tensor, text_V: Tensor, argmax: bool) -> float:
        """Probability with which a chain that overwrites a row with unrelated text restores a corrupted token.

        The text has the frequencies f of `unigram_V`. A chain that samples writes id v with probability f_v, whatever
        was there, and hits a token of frequency g_v with probability sum_v g_v f_v: for text of the same kind, sum f^2.
        A chain that takes the likeliest ids writes argmax f everywhere, and hits with probability g at that id: for
        text of the same kind, max f.

        Under the uniform process noise changes every token with the same probability, so that corrupted tokens have
        the frequencies of the text. Under the absorbing process they have, too: corrupted are the masked tokens, a
        chain writes nothing else, and this level is the expectation of `chance`.

        Args:
            unigram_V: float64, what the chain writes.
            text_V: float64, frequencies of the tokens that were corrupted.
            argmax: whether the chain takes likeliest ids instead of drawing them.
        """
        return float(text_V[unigram_V.argmax()] if argmax else (text_V * unigram_V).sum())

    def bayes_argmax(self, logits_NV: Tensor, xt_N: Tensor) -> Tensor:
        """Largest probability that a corrupted token had any one id, given the noisy row, float64 (N,).

        The probability of x_0 given the noisy row and that noise has changed this token is the leave-one-out prediction
        p without the token itself: p_v / (1 - p[x_t]) for v != x_t, and p_v for a masked token. Whoever writes the
        likeliest of these ids everywhere restores a share E[max] of the corrupted tokens; no estimate from x_t can
        restore more in the mean, whatever it does to clean tokens. The chain of the exact law draws from the law
        instead of taking the likeliest id, and restores fewer.

        Args:
            logits_NV: leave-one-out log-probabilities of the law of the text, up to a constant of each token.
            xt_N: int64 noisy ids, each of which is wrong.
        """
        if self.mask_id is None:
            logits_NV = logits_NV.scatter(1, xt_N[:, None], -torch.inf)
        return logits_NV.double().log_softmax(1).amax(1).exp()
