"""Several processes, as torchrun starts them: who is who, and that what was asked for is what runs.

Counts are read from the environment, so that asking costs nothing; :func:`connect` makes the connections.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

PATIENCE = 6 * 3600
"""Seconds for which processes wait for one another: longer than one of them may prepare data alone."""

_ASKS_FOR = {
    "ACCELERATE_USE_FSDP": "fully sharded data parallelism (FSDP)",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
_NO = ("", "0", "false", "no", "off", "n", "f")


def refuse_sharding(environment: Mapping[str, str] | None = None) -> None:
    """ValueError if the launcher asked for sharded weights: a stage is told so by its own ``sharding``.

    On a CPU accelerate would replace FSDP by DDP without a word; on an accelerator it would write checkpoints of its
    own form. ``environment`` defaults to the process's own.
    """
    environment = os.environ if environment is None else environment
    for name, what in _ASKS_FOR.items():
        value = environment.get(name, "")
        if value.strip().lower() not in _NO:
            raise ValueError(
                f"{name}={value} asks for {what}, which a stage would not do; unset it, start the run with torchrun, "
                "and give the stage sharding: full for sharded weights (FSDP2), or nothing for data parallelism (DDP)"
            )


def count() -> int:
    """How many processes there are (``WORLD_SIZE``, which torchrun sets together with ``RANK``)."""
    return int(os.environ["WORLD_SIZE"]) if {"WORLD_SIZE", "RANK"} <= os.environ.keys() else 1


def number() -> int:
    """This one's, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def is_first() -> bool:
    """Whether this is the one that writes what is written once."""
    return number() == 0


def on_cpu(device: str) -> bool:
    """Whether training on ``device`` (``"auto"`` or ``"cpu"``) is on the CPU here."""
    import torch

    return device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())


def connect(device: str = "auto") -> None:
    """Connect to the other processes, where there are some; gloo on the CPU, else accelerate's choice."""
    if count() == 1:
        return
    from accelerate import PartialState

    cpu = on_cpu(device)
    PartialState(cpu=cpu, backend="gloo" if cpu else None, timeout=timedelta(seconds=PATIENCE))
    leave_in_order()


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()


def agreed(value: Any) -> Any:
    """The first process's value (anything small that can be pickled), on all of them."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process runs the block alone, then the others do, and find in a cache what it made."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


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
