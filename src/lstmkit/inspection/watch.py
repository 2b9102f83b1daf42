"""Watching the gates while a model trains: a callback that writes statistics to TensorBoard."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.inspection.health import ADVICE, check, statistics
from lstmkit.inspection.horizon import time_constants
from lstmkit.inspection.modules import recurrent
from lstmkit.inspection.record import GATES, Recorder, Recording, recording

if TYPE_CHECKING:
    from torch import nn

EVERY = 25  # steps
MOST_VALUES = 20_000  # in a histogram
LONGEST = 1e6  # steps of a time constant that is shown


class Watch:
    """A training callback: at every so many steps one batch is recorded while it is learnt from.

    Writes, for each layer: how many units each check of `health` finds, mean, shut and open shares
    of each gate, median time constant, |c|, saturated shares, the gradient's norm, and histograms
    of gates and time constants. Training itself is not changed: a trace is what the step computes
    anyway, kept.

    Args:
        folder: of the events; the run's `log_dir`, in `gates` there, if left out.
        every: steps from one record to the next.
    """

    def __init__(self, folder: str | Path | None = None, every: int = EVERY) -> None:
        require("tensorboard", "train")
        self.given, self.every = folder, every
        self.folder: Path | None = None
        self.module: nn.Module | None = None
        self.writer: Any = None
        self.recorder: Recorder | None = None
        self.stack = ExitStack()

    def on_module(self, module: nn.Module) -> None:
        """The module that is trained, before the first step."""
        self.module = module

    def on_start(self, plan: Any, description: str = "") -> None:
        """Where to write; the first step is recorded."""
        folder = self.given or (plan.log_dir and Path(plan.log_dir) / "gates")
        if folder is None:
            raise UserError("there is no folder to write gate statistics to", hint="--log-dir DIR")
        self.folder = Path(folder)
        self._listen()

    def on_step(self, step: int, total: int, loss: float) -> None:
        """Write what was recorded; listen again when it is time."""
        if self.recorder is not None:
            if self.recorder.traces or self.recorder.cells:
                self._write(self.recorder.result(), step)
            self._deaf()
        if (step + 1) % self.every == 0:
            self._listen()

    def on_epoch(self, *_: Any) -> None:
        """What validation ran in between is not training."""
        if self.recorder is not None:
            self.recorder.clear()

    def on_end(self, history: Any) -> None:
        """Close the file of events."""
        self._deaf()
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _listen(self) -> None:
        assert self.module is not None, "training tells on_module first"
        self.recorder = self.stack.enter_context(recording(self.module))

    def _deaf(self) -> None:
        self.stack.close()
        self.recorder = None

    def _write(self, found: Recording, step: int) -> None:
        writer, constants = self._open(step), time_constants(found)
        for layer in found.layers:
            valid = found.valid(layer)
            for name, value in statistics(layer, valid).items():
                writer.add_scalar(f"{layer.name}/{name}", value, step)
            for gate in GATES:
                values = getattr(layer, gate)[valid].reshape(-1)
                thin = values[:: max(1, len(values) // MOST_VALUES)]
                writer.add_histogram(f"{layer.name}/{gate}", thin, step)
            longest = np.clip(constants[layer.name], None, LONGEST)
            writer.add_histogram(f"{layer.name}/time_constant", longest, step)
        for (layer_name, kind), units in _counts(found).items():
            writer.add_scalar(f"{layer_name}/health/{kind}", units, step)
        for name, norm in self._gradients().items():
            writer.add_scalar(f"{name}/gradient_norm", norm, step)
        writer.flush()

    def _gradients(self) -> dict[str, float]:
        """The norm of each recurrent module's gradient, as the step used it: after clipping."""
        assert self.module is not None
        found = {}
        for name, layer, _ in recurrent(self.module):
            squares = [
                float(p.grad.square().sum()) for p in layer.parameters() if p.grad is not None
            ]
            found[name or "module"] = float(np.sqrt(sum(squares)))
        return found

    def _open(self, step: int) -> Any:
        if self.writer is None:
            module = require("torch.utils.tensorboard", "train")
            self.writer = module.SummaryWriter(str(self.folder), purge_step=step)
        return self.writer


def _counts(found: Recording) -> dict[tuple[str, str], int]:
    """Units that each check finds in each layer, 0 where all is well; a layer as a whole is 1."""
    counts = {(name, kind.replace(" ", "_")): 0 for name in found.names for kind in ADVICE}
    for finding in check(found):
        counts[finding.layer, finding.kind.replace(" ", "_")] = len(finding.units) or 1
    return {key: n for key, n in counts.items() if not key[1].startswith("gradient")}
