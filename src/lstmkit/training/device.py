"""Where a run takes place: device, threads, and what of the process it puts back afterwards."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn

from lstmkit.errors import UserError


def choose_device(name: str = "auto") -> str:
    """Either "cpu" or "cuda"; `auto` takes a GPU where torch sees one.

    Raises:
        UserError: "cuda" was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError(
            "device cuda was asked for, but torch sees no GPU",
            got=f"torch {torch.__version__}",
            hint="--device cpu, or install a CUDA build of torch and check nvidia-smi",
        )
    return "cuda" if available and name != "cpu" else "cpu"


@contextmanager
def own_process(seed: int, threads: int | None, device: str) -> Iterator[None]:
    """Inside: torch's generators seeded, `threads` CPU threads, no talk of the framework's.

    Outside everything is as it was, the generators included.
    """
    before = torch.get_num_threads()
    log = logging.getLogger("lightning.fabric")
    level = log.level
    cuda = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=cuda), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        torch.manual_seed(seed)
        torch.set_num_threads(threads or before)
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            log.setLevel(level)


@contextmanager
def left_as_found(module: nn.Module) -> Iterator[None]:
    """Afterwards each submodule is in its former mode, on the module's former device."""
    modes = [(part, part.training) for part in module.modules()]
    first = next(module.parameters(), None)
    device = first.device if first is not None else None
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        if device is not None:
            module.to(device)


class StopRequest:
    """Ctrl-C as a flag that is read between steps; a second Ctrl-C stops at once.

    Signals reach the main thread only: in another thread the flag stays down.
    """

    def __init__(self) -> None:
        self.raised = False
        self._before: Any = None
        self._mine = False

    def __enter__(self) -> StopRequest:
        self._mine = threading.current_thread() is threading.main_thread()
        if self._mine:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._mine and self._before is not None:  # None: a handler that is not Python's
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.raised = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
