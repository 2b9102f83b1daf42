"""What a layer did: gates, cell and hidden state of every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from lstmkit.kernels.contract import Result

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")


@dataclass(frozen=True)
class LayerTrace:
    """One layer and direction, in input time, 0 in padding; gates after their nonlinearity."""

    layer: int
    reverse: bool
    input_gate: Tensor  # (T, B, H), as are the next four
    forget_gate: Tensor
    candidate: Tensor
    output_gate: Tensor
    cell: Tensor  # as carried on: after zoneout
    hidden: Tensor  # (T, B, P)

    @classmethod
    def of(cls, layer: int, reverse: bool, result: Result) -> LayerTrace:
        i, f, g, o = result.gates.unbind(-2)
        return cls(layer, reverse, i, f, g, o, result.cell, result.output)

    def reordered(self, order: Tensor) -> LayerTrace:
        """The same trace with its samples in another order."""
        fields = (getattr(self, k).index_select(1, order) for k in FIELDS)
        return LayerTrace(self.layer, self.reverse, *fields)

    def select(self, sample: int) -> dict[str, Any]:
        """Numpy arrays (T, H or P) of one sample, by field name."""
        return {k: getattr(self, k)[:, sample].detach().float().cpu().numpy() for k in FIELDS}


@dataclass(frozen=True)
class Trace:
    """All layers and directions, ordered layer by layer, forward then reverse.

    `trace[k]` is one LayerTrace (views, no copy); `trace.forget_gate` and the other fields are
    stacks (L*D, T, B, .), made when asked for. Differentiable.
    """

    layers: tuple[LayerTrace, ...]

    def __getitem__(self, k: int) -> LayerTrace:
        return self.layers[k]

    def __len__(self) -> int:
        return len(self.layers)

    def _stacked(self, field: str) -> Tensor:
        return torch.stack([getattr(layer, field) for layer in self.layers])

    @cached_property
    def input_gate(self) -> Tensor:
        return self._stacked("input_gate")

    @cached_property
    def forget_gate(self) -> Tensor:
        return self._stacked("forget_gate")

    @cached_property
    def candidate(self) -> Tensor:
        return self._stacked("candidate")

    @cached_property
    def output_gate(self) -> Tensor:
        return self._stacked("output_gate")

    @cached_property
    def cell(self) -> Tensor:
        return self._stacked("cell")

    @cached_property
    def hidden(self) -> Tensor:
        return self._stacked("hidden")

    def plot(self, layer: int = 0, sample: int = 0, **options: Any) -> Any:
        """A matplotlib figure of one layer's gates over time; options as `style.plot_gates`."""
        from lstmkit.style import plot_gates

        return plot_gates(self.layers[layer].select(sample), **options)

    def _repr_html_(self) -> str:
        from lstmkit.style import html_table

        names = ("layer", "steps", "batch", "units", *(f"mean {k}" for k in FIELDS[:4]))
        head = [name.replace("_", " ") for name in names]
        return html_table(head, (_row(layer) for layer in self.layers))


def _row(layer: LayerTrace) -> list[str]:
    name = f"{layer.layer}{' reverse' if layer.reverse else ''}"
    means = (f"{getattr(layer, k).detach().float().mean():.3f}" for k in FIELDS[:4])
    return [name, *(str(size) for size in layer.cell.shape), *means]
