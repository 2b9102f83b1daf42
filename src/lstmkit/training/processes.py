"""One run in several processes: who this is, what all agree on, and a start that goes on.

torchrun starts the processes, on one machine or many, and says who is who; Fabric's DDP averages
their gradients. Whatever decides what a process does next (the clock, Ctrl-C, a score, a loss that
is not finite) is agreed on, for processes that disagree wait for each other for ever. No torch at
import.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lstmkit.errors import UserError


class Share(NamedTuple):
    """Which of `world` processes this is."""

    rank: int
    world: int

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    @property
    def speaks(self) -> bool:
        """Whether this process talks, scores, and writes files: one of them does."""
        return self.rank == 0


def share() -> Share:
    """This process among those of a run: (0, 1) alone, otherwise as torchrun says."""
    if not launch():
        return Share(0, 1)
    return Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def launch() -> str:
    """What the attempts of one torchrun on this machine have in common; "" without torchrun."""
    number = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"{number} {socket.gethostname()} {os.getppid()}" if number else ""


def restarted() -> bool:
    """Whether torchrun knows that it has started these processes again.

    Each machine counts the losses that it saw itself, and none where another machine has joined:
    the processes of a run need not answer alike.
    """
    return bool(launch()) and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def fabric_options(accelerator: str) -> dict[str, Any]:
    """Arguments of Fabric for the processes of this run.

    Raises:
        UserError: some machine cannot have as many processes as this one.
    """
    here = share()
    if here.alone:
        return {"accelerator": accelerator, "devices": 1}
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    if here.world % local:
        raise UserError(
            "machines must run equally many processes",
            got=f"{local} of {here.world} on this one",
            hint="the same --nproc-per-node on all of them",
        )
    return {
        "accelerator": accelerator,
        "devices": local,
        "num_nodes": here.world // local,
        "strategy": "ddp",
    }


class Council:
    """What the processes of a run tell each other; alone, everything is as it is.

    Args:
        device: of the tensors that travel; those of NCCL must be on a GPU.
    """

    def __init__(self, device: Any) -> None:
        self.device, self.share = device, share()

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        if self.share.alone:
            return list(values)
        import torch

        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def told(self, value: float) -> float:
        """The first process's value."""
        return self.sums([value if self.share.speaks else 0.0])[0]

    @contextmanager
    def file(self, path: Path | None) -> Iterator[Path | None]:
        """The first process's file, for all to read, wherever they run; None where it has none."""
        if self.share.alone:
            yield path if path is not None and path.exists() else None
            return
        import numpy as np
        import torch

        there = self.share.speaks and path is not None and path.exists()
        raw = path.read_bytes() if there and path is not None else b""
        size = int(self.told(len(raw)))
        if not size:
            yield None
            return
        content = torch.from_numpy(np.frombuffer(raw.ljust(size, b"\0"), np.uint8).copy())
        content = content.to(self.device)
        torch.distributed.broadcast(content, 0)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "checkpoint"
            copy.write_bytes(content.cpu().numpy().tobytes())
            yield copy
