"""The Lightning module: process, backbone, objective and sampler. Shapes: B rows, L positions."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from uddm_lightning.backbones import Backbone, DiT, TextStatistics
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError, check_within
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import NELBO, Objective
from uddm_lightning.processes import HybridProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler, Sampler
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.compilation import CompileOption, TrainingCompiler
from uddm_lightning.training.distributed import keep_constants_local
from uddm_lightning.training.ema import ExponentialMovingAverage
from uddm_lightning.training.loss_guard import LossGuard
from uddm_lightning.training.lr_schedules import LRSchedule, WarmupConstant
from uddm_lightning.training.optimizers import apply_config, check_optimizer, make_optimizer, strip_parser
from uddm_lightning.training.trainer_access import data_of, is_dry_run

Weights = Literal["ema", "raw"]
STOPPED = "stopped_early"  # key of a checkpoint: a callback ended the run at this step
SHOWN_STEPS = 10  # interval of the losses in the progress bar and for callbacks

# Objects without state, so that tasks may share them. The command line names the same classes.
DEFAULT_PROCESS = partial(UniformProcess, schedule=LogLinearSchedule())
DEFAULT_OBJECTIVE = NELBO()
DEFAULT_SAMPLER = AncestralSampler()
DEFAULT_LR_SCHEDULE = WarmupConstant()


class DiffusionTask(LightningModule):
    """Train a diffusion language model, with a moving average of its weights.

    Args:
        vocab_size: V; the command line sets it from the data.
        process: makes the forward process from V.
        backbone: makes the network from the number of states of the process.
        objective: the loss; it defines the parameterization of the network's output.
        sampler: the reverse chain.
        optimizer: makes the optimizer from the parameters.
        lr_schedule: factor on the optimizer's rate for each optimizer step.
        ema_decay: upper limit of the decay of the moving average, in [0, 1).
        eval_dtype: precision of measurements. In float64 a result does not depend on the batch size. In float32, a few
            of a million draws do, and CUDA rounds products to TF32. On an H100 the entropy of 128 rows of the paper's
            tiny network took 48 ms in float64 and 21 ms in float32.
        predict_t: corruption time that `predict` assumes for its texts, in (0, 1].
        compile: compile network, loss and noise with `torch.compile` for training. "auto" does so on CUDA, for runs of
            1,000 steps or more. On CUDA, networks of up to 10 M parameters then use CUDA graphs.
        seed: seed of the initial weights.
        backbone_name: name of the network in results; None is the name of its class.

    Raises:
        ValueError: an argument is out of range, or the parts do not fit together.
    """

    def __init__(
        self,
        vocab_size: int,
        process: Callable[[int], Process] = DEFAULT_PROCESS,
        backbone: Callable[[int], Backbone] = DiT,
        objective: Objective = DEFAULT_OBJECTIVE,
        sampler: Sampler = DEFAULT_SAMPLER,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedule = DEFAULT_LR_SCHEDULE,
        ema_decay: float = 0.9999,
        eval_dtype: Literal["float64", "float32"] = "float64",
        predict_t: float = 0.1,
        compile: CompileOption = "auto",
        seed: int = 0,
        backbone_name: str | None = None,
    ) -> None:
        super().__init__()
        check_within("(0, 1]", predict_t=predict_t)
        self.save_hyperparameters(logger=False)
        # objects given in Python would prevent that a checkpoint is loaded as data alone
        self.remove_ignored_hparams([name for name, value in self.hparams.items() if not _is_plain(value)])
        self.process = process(vocab_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = backbone(self.process.num_states)
        self.backbone_name = backbone_name or type(self.backbone).__name__
        self.ema = ExponentialMovingAverage(self.backbone, ema_decay)
        objective.check_compatible(self.process, self.backbone)
        self.objective = objective
        self.sampler = sampler
        self.make_optimizer = strip_parser(optimizer)
        self.lr_schedule = lr_schedule
        self.eval_dtype: torch.dtype = getattr(torch, eval_dtype)
        self.predict_t = predict_t
        self.run_name: str | None = None  # name of the run in the results; None takes the one in its folder's manifest
        self.guard = LossGuard()
        self.notes: dict[Weights, BatchNotes] = {}  # on the batch under measurement, by the weights that are measured
        self._loaded_step = 0
        self._stopped_step: int | None = None  # where a callback has ended the run
        self._loss: Tensor | float = 0.0  # sum over the tokens of a step on this rank, and the number of them
        self._tokens: Tensor | float = 0.0
        self._counted = False  # whether the loss of the present micro-batch is in the sum
        self.compiler = TrainingCompiler(compile)

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.backbone.parameters() if parameter.requires_grad)

    @property
    def parameterization(self) -> Parameterization:
        """Distribution that the logits of the backbone parameterize."""
        return self.backbone.parameterization or self.objective.parameterization

    @property
    def weights_step(self) -> int:
        """Number of optimizer steps of the current weights, in `fit` and for a checkpoint."""
        return self.global_step if self.trainer.state.fn == TrainerFn.FITTING else self._loaded_step

    @property
    def at_its_end(self) -> bool:
        """Whether the current weights are the last of their run, which may have stopped early."""
        return self.weights_step >= self.trainer.max_steps or self.weights_step == self._stopped_step

    def denoiser(self, weights: Weights) -> Denoiser:
        """Return the predictions of the averaged or the raw weights, in `eval_dtype`.

        Weights in another precision are copied, so a measurement cannot change them.
        """
        backbone = self.ema.backbone if weights == "ema" else self.backbone
        # a compiled network would be compiled again for the shapes of measurements; its copy is not compiled
        changes = backbone.training or (self.compiler.is_active and weights == "raw")
        if changes or any(parameter.dtype != self.eval_dtype for parameter in backbone.parameters()):
            backbone = copy.deepcopy(backbone).to(self.eval_dtype).eval()
        return Denoiser(self.process, backbone, self.parameterization)

    @override
    def setup(self, stage: str) -> None:
        trainer: Any = self.trainer
        if stage == "fit":
            if isinstance(trainer.val_check_interval, float) and trainer.max_steps > 0:
                # Lightning's default, once per epoch, never comes: the training rows have no epochs
                trainer.val_check_interval = trainer.max_steps * trainer.accumulate_grad_batches
                trainer.check_val_every_n_epoch = None
            self.compiler.start(self.backbone, self.process, trainer)
            keep_constants_local(self)
        if type(self.backbone).prepare is not Backbone.prepare:  # other backbones do not need the text
            if isinstance(self.process, HybridProcess):
                raise InputError(
                    f"`model.backbone` is {type(self.backbone).__name__}, which computes the predictions of uniform "
                    "and of absorbing noise only; use another `model.process` than `HybridProcess`, or a network."
                )
            data = data_of(self.trainer)
            statistics = TextStatistics(data.training_rows, data.unigram, data.markov_chain, self.process.mask_id)
            for backbone in (self.backbone, self.ema.backbone):
                backbone.prepare(statistics)

    def check_optimizer(self, precision: object = None) -> None:
        """Make an optimizer and discard it, so that wrong arguments are reported before training."""
        if self.parameter_count:
            check_optimizer(self.make_optimizer, self.backbone, precision)

    @override
    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.make_optimizer, self.backbone)
        total = self.trainer.max_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda finished: self.lr_schedule(finished, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @override
    def on_train_batch_start(self, batch: TokenBatch, batch_idx: int) -> None:
        if batch.step != self.global_step:
            raise InputError(
                f"The trainer handed over the batch of step {batch.step} at optimizer step {self.global_step}: an "
                "option or a callback restarts or regroups the stream of training rows. Leave it out."
            )
        self._counted = False

    @override
    def training_step(self, batch: TokenBatch, batch_idx: int) -> Tensor:
        # Dropout is a function of seed, step, micro-batch and rank, so that LBFGS may evaluate a batch several times.
        # `torch.manual_seed` takes milliseconds: it records the stack for every kind of device that is missing.
        torch.default_generator.manual_seed(batch.seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(batch.seed)
        noised = self.compiler.corrupt(self.objective, self.process, batch)
        loss = self.objective(self.process, self.backbone, noised)
        self.guard.watch(batch.step, batch.rows_B, loss.tokens_N.view_as(batch.tokens_BL))
        if not self._counted:  # log the loss of the weights before the step
            # the gradient is that of the sum over all positions; the logged value is the mean over valid tokens
            positions = batch.tokens_BL.numel()
            valid = positions if batch.valid_BL is None else batch.valid_BL.sum().double()
            self._loss = self._loss + loss.total.detach().double() * positions
            self._tokens = self._tokens + valid
            self._counted = True
        return loss.total

    @override
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # not in a batch hook, because a checkpoint callback may save before it runs
        self.ema.update(self.backbone, self.global_step + 1)

    @override
    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as Lightning does, and also those of fused optimizers under mixed precision.

        Lightning refuses fused optimizers, because they unscale the gradients within their step, after the clipping. In
        bfloat16 there is no scale. In float16 the gradients are unscaled here, and not again in the step.
        """
        plugin = self.trainer.precision_plugin
        if not isinstance(plugin, MixedPrecision) or not getattr(optimizer, "_step_supports_amp_scaling", False):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        if not gradient_clip_val:
            return
        if plugin.scaler is not None:
            plugin.scaler.unscale_(optimizer)
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val, algorithm)

    @override
    def on_train_batch_end(self, outputs: Any, batch: TokenBatch, batch_idx: int) -> None:
        if (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0:
            if self._is_shown(batch_idx):
                sums = torch.stack([torch.as_tensor(part, device=self.device) for part in (self._loss, self._tokens)])
                if self.trainer.world_size > 1:
                    sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
                mean = sums[0] / sums[1].clamp(min=1)
                self.log("loss/train", mean, prog_bar=True, logger=False)
                trainer: Any = self.trainer
                if trainer.log_every_n_steps and self.global_step % trainer.log_every_n_steps == 0:
                    # steps of the weights, as for all measurements; Lightning's count is one less
                    for logger in trainer.loggers:
                        logger.log_metrics({"loss/train": float(mean)}, step=self.global_step)
            self._loss = self._tokens = 0.0

    def _is_shown(self, batch_idx: int) -> bool:
        """Return whether a logger, a progress bar or a callback reads the loss of this step.

        Logging takes a noticeable part of a small network's step.
        """
        trainer: Any = self.trainer
        looks = (SHOWN_STEPS, trainer.log_every_n_steps or SHOWN_STEPS)
        validated = (batch_idx + 1) % (trainer.val_check_batch or 1) == 0
        return is_dry_run(trainer) or validated or any(self.global_step % steps == 0 for steps in looks)

    @override
    def validation_step(self, batch: TokenBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Start new notes: the probes, which are callbacks, measure the batch."""
        self.notes = {"ema": BatchNotes(), "raw": BatchNotes()}

    test_step = validation_step

    @override
    def predict_step(self, batch: TokenBatch, batch_idx: int = 0) -> Tensor:
        """Return restored ids (B, L) of rows that are taken as corrupted at time `predict_t`; see `restore`."""
        return self.restore(batch, self.predict_t, self.denoiser("ema"))

    def restore(self, batch: TokenBatch, t: float, denoiser: Denoiser) -> Tensor:
        """Return ids (B, L) that the reverse chain restores from rows that are taken as corrupted at time `t`.

        Raises:
            InputError: the process changes masked tokens only, and a text has none.
        """
        if not bool(self.process.prediction_mask(batch.tokens_BL).any()):
            raise InputError(
                f"`model.process` is {type(self.process).__name__}, which changes masked tokens alone, and a text has "
                "none: `uddm predict` has nothing to restore. Use a model of the `UniformProcess`."
            )
        return self.sampler(denoiser, batch.tokens_BL, t, batch.keys_B, batch.valid_BL)

    @override
    def on_validation_start(self) -> None:
        self.guard.check()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.check()  # a checkpoint never holds weights after a NaN loss
        if getattr(self._trainer, "should_stop", False):
            checkpoint[STOPPED] = True

    @override
    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self._loaded_step = int(checkpoint["global_step"])
        self._stopped_step = self._loaded_step if checkpoint.get(STOPPED) else None
        trainer: Any = self._trainer
        if trainer is not None and trainer.state.fn == TrainerFn.FITTING:
            groups = make_optimizer(self.make_optimizer, self.backbone).param_groups
            apply_config(checkpoint, groups, self.lr_schedule, self.trainer.max_steps)

    @override
    def on_train_start(self) -> None:
        """Do not train a run further that a callback stopped, unless that callback is left out."""
        if self._stopped_step == self.global_step and self.trainer.early_stopping_callbacks:
            self.trainer.should_stop = True


def _is_plain(value: object) -> bool:
    """Return whether a value consists of numbers, strings, lists and dictionaries only."""
    if isinstance(value, dict | list | tuple):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | int | float | None)
