"""Print the collectives of a training step under DDP in one process, as JSON.

Run it as `python -m tests.training.collectives_of_a_step ARGUMENTS`.
A step in the middle, which nothing logs, is recorded by torch's profiler. The collectives are those that two processes
would call, since DDP does not ask how many there are.
"""

import json
import sys
from collections import Counter
from typing import Any

from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from uddm_lightning.cli.main import main
from uddm_lightning.training.task import DiffusionTask

STEP = 3


def record(arguments: list[str]) -> dict[str, Any]:
    """Return the collectives of step `STEP` by name, the number of gradient buckets, and two settings of DDP."""
    found: dict[str, Any] = {}
    profiler = profile(activities=[ProfilerActivity.CPU])
    ended = DiffusionTask.on_train_batch_end

    def start(task: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == STEP:
            profiler.__enter__()

    def end(task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        ended(task, outputs, batch, batch_idx)
        if batch_idx != STEP:
            return
        profiler.__exit__(None, None, None)
        names = [event.name for event in profiler.events() if event.name.startswith("c10d::")]
        network = task.trainer.strategy.model
        assert isinstance(network, DistributedDataParallel)
        found["collectives"] = Counter(names)
        found["buckets"] = len(network._get_ddp_logging_data()["rebuilt_bucket_sizes"].split(","))
        found["unused"] = network.find_unused_parameters

    DiffusionTask.on_train_batch_start, DiffusionTask.on_train_batch_end = start, end  # type: ignore[method-assign] # to record
    status = main(arguments)
    assert status == 0, status
    return found


if __name__ == "__main__":
    result = record(sys.argv[1:])
    sys.stdout.write("\n" + json.dumps(result) + "\n")
