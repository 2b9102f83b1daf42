"""How the processes of a run find each other, also after torchrun has started them again.

torchrun keeps one store for all its attempts (pytorch/pytorch#135712). Whoever is early finds there
the addresses of processes that are gone, and calls them in vain. So the processes first agree on a
name that no earlier attempt had, and look for each other under that name only. The number of the
attempt will not do: each machine counts its own.
"""

from __future__ import annotations

import atexit
import os
import time
import uuid
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from lstmkit.training.processes import Share, share

PATIENCE = timedelta(minutes=30)  # for the others, and for the first one while it validates
BETWEEN_LOOKS = 0.02  # seconds


def meet(device: str) -> None:
    """Begin the process group of this run, once a process; alone there is none.

    Raises:
        TimeoutError: some process did not come.
    """
    here = share()
    if here.alone or distributed.is_initialized():
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, world = next(distributed.rendezvous("env://", timeout=PATIENCE))
    name = agree(distributed.PrefixStore("lstmkit", store), here)
    distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=distributed.PrefixStore(name, store),
        rank=rank,
        world_size=world,
        timeout=PATIENCE,
        device_id=torch.device("cuda", torch.cuda.current_device()) if device == "cuda" else None,
    )
    atexit.register(part)


def part() -> None:
    """End the process group, if there is one still."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def lost(error: BaseException) -> bool:
    """Whether `error` is how gloo or NCCL say that another process is gone."""
    gloo = isinstance(error, RuntimeError) and "/gloo/" in str(error)
    return gloo or isinstance(error, distributed.DistError)


def agree(store: Any, here: Share, patience: timedelta = PATIENCE) -> str:
    """A name known to the processes of this attempt, and to none of an earlier one.

    Each process leaves a word of its own. The first one answers under that word, which an earlier
    attempt cannot have done, until all have confirmed; older words it answers in vain.

    Raises:
        TimeoutError: some process did not come.
    """
    own = uuid.uuid4().hex
    if not here.speaks:
        store.set(f"word/{here.rank}", own)
        name: str = store.get(f"answer/{own}").decode()
        store.set(f"{name}/{here.rank}", "here")
        return name
    missing, until = set(range(1, here.world)), time.monotonic() + patience.total_seconds()
    while missing:
        for rank in sorted(missing):
            if store.check([f"word/{rank}"]):
                store.set(f"answer/{store.get(f'word/{rank}').decode()}", own)
        missing = {rank for rank in missing if not store.check([f"{own}/{rank}"])}
        if time.monotonic() > until:
            raise TimeoutError(f"processes {sorted(missing)} of {here.world} did not come")
        time.sleep(BETWEEN_LOOKS)
    return own
