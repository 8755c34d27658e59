"""Base class of forward processes.

Shapes: B rows, L positions, N tokens (any subset of the B * L), V ids in the vocabulary, S states (V, and the mask).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from uddm_lightning.core.batch import Noised, NoisyTokens
from uddm_lightning.core.errors import check_at_least
from uddm_lightning.core.gradients import LossAndGradient, loss_and_gradient_by_autograd
from uddm_lightning.core.keyed_random import Stream, key
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes.schedules import NoiseLevel, Schedule


class Process(ABC):
    """Base class of noise processes on token ids, with their exact reverse step and likelihood bound.

    Times satisfy s < t, so that alpha_s > alpha_t.

    Args:
        vocab_size: V, number of ids, at least 2.
        schedule: noise schedule.

    Raises:
        ValueError: `vocab_size` is below 2.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process = UniformProcess(27, LogLinearSchedule())
        >>> process.num_states
        27
        >>> process.level(torch.tensor(0.5)).alpha
        tensor(0.5005, dtype=torch.float64)
    """

    def __init__(self, vocab_size: int, schedule: Schedule) -> None:
        check_at_least(2, vocab_size=vocab_size)
        self.vocab_size = vocab_size
        self.schedule = schedule

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token, V; None for a process that replaces tokens by ids of the vocabulary."""
        return None

    @property
    def num_states(self) -> int:
        """Number of ids in noisy text, S: V, plus 1 if there is a mask token."""
        return self.vocab_size + (self.mask_id is not None)

    def prediction_mask(self, xt: Tensor) -> Tensor:
        """Return a bool mask of the tokens that noise may have changed, with the shape of `xt`.

        Predictions at the other tokens are not trained, are not measured, and do not change the reverse chain.
        """
        return torch.ones_like(xt, dtype=torch.bool)

    def sample_prior(self, uniform_BL: Tensor) -> Tensor:
        """Return rows x_1 at t = 1, int64 (B, L), from rows of uniform random ids."""
        return uniform_BL

    def mask_position(self, x0_BL: Tensor, position_B: Tensor) -> Tensor:
        """Return network inputs, int64 (B, L), for the leave-one-out prediction at one position of each clean row.

        The leave-one-out prediction ignores the token at its own position, so a process that predicts every token
        returns the clean rows.
        """
        return x0_BL

    def change_probability(self, alpha: Tensor) -> Tensor:
        """Return the probability that x_t differs from x_0 at a token, with the shape of `alpha`."""
        return (1.0 - alpha) * (1.0 if self.mask_id is not None else 1.0 - 1.0 / self.vocab_size)

    def compile(self) -> None:
        """Compile the loss with `torch.compile`, if the process supports it."""
        return

    def level(self, t: Tensor) -> NoiseLevel:
        """Return the noise level at times `t` of any shape."""
        return self.schedule(t)

    def noise_input(self, alpha: Tensor) -> Tensor:
        """Return the noise input of the network, -ln alpha_t, with the shape of `alpha`."""
        return -torch.log(alpha)

    def corrupt(self, x0_BL: Tensor, t_B: Tensor, keys_B: Tensor, valid_BL: Tensor | None = None) -> Noised:
        """Draw x_t ~ q(x_t | x_0). Each draw is a function of its key, time and position.

        Args:
            x0_BL: int64 clean ids.
            t_B: times in [0, 1].
            keys_B: int64 noise keys.
            valid_BL: False at padding, which stays unchanged; None if every position is valid.
        """
        level = self.level(t_B)
        keys_BL = key(keys_B[:, None], Stream.CORRUPTION, torch.arange(x0_BL.shape[1], device=x0_BL.device))
        quantile_BL, noise_BL = self.draw_noise(keys_BL, level.alpha)
        touched_BL = quantile_BL >= level.alpha[:, None]
        if valid_BL is not None:
            touched_BL &= valid_BL
        return Noised(x0_BL, noise_BL.where(touched_BL, x0_BL), t_B, level.alpha, level.slope, valid_BL)

    @abstractmethod
    def draw_noise(self, keys_BL: Tensor, alpha_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return a uniform number in [0, 1) and an id of the noise for each token, float64 and int64 (B, L).

        `corrupt` replaces a token by that id if the number is at least alpha_t.

        Args:
            keys_BL: int64 noise keys.
            alpha_B: float64 signal levels; the law of the noise may depend on them.
        """

    @abstractmethod
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, parameterization: Parameterization
    ) -> Tensor:
        """Convert network outputs to leave-one-out log-probabilities (N, V), up to a constant per token.

        Args:
            logits_NV: network outputs for all S states; they are not modified.
            xt_N: int64 noisy ids.
            alpha_N: float64 signal levels.
            parameterization: distribution that `logits_NV` parameterizes.

        Returns:
            Logits of the V ids of the vocabulary, in the dtype of `logits_NV`.
        """

    @abstractmethod
    def posterior_logits(self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor) -> Tensor:
        """Convert leave-one-out outputs to log-probabilities of the posterior (N, V), up to a constant per token.

        The posterior p(x_0^l | x_t) is proportional to the leave-one-out prediction times q(x_t^l | x_0^l).

        Args:
            logits_NV: network outputs for all S states, which parameterize the leave-one-out prediction; they are not
                modified.
            xt_N: int64 noisy ids.
            alpha_N: float64 signal levels, below 1.

        Returns:
            Logits of the V ids of the vocabulary, in the dtype of `logits_NV`.

        Example:
            >>> import torch
            >>> from uddm_lightning.processes import UniformProcess
            >>> from uddm_lightning.processes.schedules import LogLinearSchedule
            >>> process, alpha_N = UniformProcess(3, LogLinearSchedule()), torch.tensor([0.5])
            >>> process.posterior_logits(torch.zeros(1, 3), torch.tensor([2]), alpha_N).softmax(1)
            tensor([[0.1667, 0.1667, 0.6667]])
        """

    def posterior_offset(self, alpha_N: Tensor) -> Tensor | None:
        """Return the number (N,) that `posterior_logits` adds to the logit of x_t and to no other.

        None for a process whose posterior is not of this form.
        """
        return None

    def leave_one_out(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, parameterization: Parameterization
    ) -> Tensor:
        """Return normalised leave-one-out log-probabilities (N, V); see `leave_one_out_logits`."""
        return torch.log_softmax(self.leave_one_out_logits(logits_NV, xt_N, alpha_N, parameterization), dim=1)

    @abstractmethod
    def nelbo(self, logp_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        """Return the integrand of the continuous-time NELBO, in nats per token and unit of time (N,).

        Args:
            logp_NV: leave-one-out log-probabilities p.
            tokens: clean and noisy tokens with their noise levels.
        """

    def nelbo_from_logits(self, logits_NV: Tensor, tokens: NoisyTokens, parameterization: Parameterization) -> Tensor:
        """Return `nelbo` from network outputs. A subclass may override it with a gradient in closed form."""
        logp_NV = self.leave_one_out(logits_NV, tokens.xt_N, tokens.alpha_N, parameterization)
        return self.nelbo(logp_NV, tokens)

    def nelbo_and_gradient(
        self, logits_NV: Tensor, tokens: NoisyTokens, parameterization: Parameterization, weight_N: Tensor | None
    ) -> LossAndGradient:
        """Return `nelbo_from_logits` with its gradient, in at least float32. The logits may be overwritten.

        Args:
            logits_NV: network outputs in any precision.
            tokens: clean and noisy tokens with their noise levels.
            parameterization: distribution that `logits_NV` parameterizes.
            weight_N: weights of the tokens in the gradient; None for no gradient.
        """
        return loss_and_gradient_by_autograd(
            lambda values_NV: self.nelbo_from_logits(values_NV, tokens, parameterization),
            logits_NV,
            weight_N,
        )

    @abstractmethod
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        """Draw x_s ~ q(x_s | x_t, p), int64 (N,), without the dense probabilities.

        Args:
            logp_NV: leave-one-out log-probabilities p.
            xt_N: int64 ids at time t.
            alpha_s_N: float64 signal levels at time s < t.
            alpha_t_N: float64 signal levels at time t.
            keys_N: int64 noise keys.
        """

    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        """Return a bool mask (N,), False where `step` with the same keys returns x_t for every prediction p.

        The sampler evaluates the network for the other tokens only.
        """
        return torch.ones_like(keys_N, dtype=torch.bool)

    @abstractmethod
    def argmax_step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        """Return the most probable x_s under q(x_s | x_t, p), int64 (N,)."""

    @abstractmethod
    def chance(self, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, unigram_V: Tensor) -> Tensor:
        """Return the probability that the exact unigram model restores each token, float64 (N,).

        Args:
            x0_N: int64 clean ids.
            xt_N: int64 noisy ids.
            alpha_N: float64 signal levels.
            unigram_V: float64 frequencies of the ids.
        """

    def coincidence(self, unigram_V: Tensor, text_V: Tensor, argmax: bool) -> float:
        """Return the recovery of a chain that ignores its input and writes unrelated text.

        Let f be the frequencies `unigram_V` and g the frequencies `text_V`. A chain that samples writes id v with
        probability f_v and restores a token with probability sum_v g_v f_v. A chain that takes the most probable ids
        writes argmax f everywhere and restores a token with probability g_(argmax f).

        A process corrupts every token with the same probability, so corrupted tokens have the frequencies of the text.
        Under the absorbing process this level is the expectation of `chance`.

        Args:
            unigram_V: float64 frequencies of the ids that the chain writes.
            text_V: float64 frequencies of the ids in the corrupted text.
            argmax: whether the chain takes the most probable ids instead of sampling.

        Returns:
            Probability in [0, 1].

        Example:
            >>> import torch
            >>> from uddm_lightning.processes import UniformProcess
            >>> from uddm_lightning.processes.schedules import LogLinearSchedule
            >>> process, unigram_V = UniformProcess(2, LogLinearSchedule()), torch.tensor([0.75, 0.25])
            >>> process.coincidence(unigram_V, unigram_V, argmax=False)
            0.625
            >>> process.coincidence(unigram_V, unigram_V, argmax=True)
            0.75
        """
        return float(text_V[unigram_V.argmax()] if argmax else (text_V * unigram_V).sum())

    def bayes_argmax(self, logits_NV: Tensor, xt_N: Tensor) -> Tensor:
        """Return the probability of the most probable clean id of each corrupted token, float64 (N,).

        Given the noisy row and that noise has changed the token, x_0 = v has probability p_v / (1 - p[x_t]) for
        v != x_t, and p_v for a masked token, where p is the leave-one-out prediction. The mean over corrupted tokens is
        the largest expected recovery of any estimate from x_t; predictions at clean tokens do not matter. The chain of
        the exact distribution samples instead of taking the most probable id, and recovers fewer tokens.

        Args:
            logits_NV: exact leave-one-out log-probabilities, up to a constant per token.
            xt_N: int64 noisy ids, all different from the clean ones.

        Example:
            >>> import torch
            >>> from uddm_lightning.processes import UniformProcess
            >>> from uddm_lightning.processes.schedules import LogLinearSchedule
            >>> process = UniformProcess(3, LogLinearSchedule())
            >>> process.bayes_argmax(torch.tensor([[0.5, 0.3, 0.2]]).log(), torch.tensor([0]))
            tensor([0.6000], dtype=torch.float64)
        """
        if self.mask_id is None:
            logits_NV = logits_NV.scatter(1, xt_N[:, None], -torch.inf)
        return logits_NV.double().log_softmax(1).amax(1).exp()
