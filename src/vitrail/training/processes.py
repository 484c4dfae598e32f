"""Several processes: what was asked for is what runs, or it is an error."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from functools import cache

_ASKS_FOR = {
    "ACCELERATE_USE_FSDP": "fully sharded data parallelism (FSDP)",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
_NO = ("", "0", "false", "no", "off", "n", "f")


def refuse_sharding(environment: Mapping[str, str] | None = None) -> None:
    """ValueError if the launcher asked for sharded weights: a stage trains whole ones on every process (DDP).

    On a CPU accelerate would replace FSDP by DDP without a word; on an accelerator the stage's checkpoints, which hold
    whole weights and one optimiser, could not be written. ``environment`` defaults to the process's own.
    """
    environment = os.environ if environment is None else environment
    for name, what in _ASKS_FOR.items():
        value = environment.get(name, "")
        if value.strip().lower() not in _NO:
            raise ValueError(
                f"{name}={value} asks for {what}, but a stage keeps whole weights on every process and would run as "
                "data parallelism (DDP); unset it, or start the run with torchrun"
            )


@cache
def leave_in_order() -> None:
    """See to it that this process ends its connections to the others before the interpreter ends.

    Left to the interpreter, gloo's threads may still run then, and a process that did all its work aborts. No other
    process is waited for, so one that breaks off does not hang.
    """
    atexit.register(_disconnect)


def _disconnect() -> None:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
