"""The recurrent layers inside any module, and small ways to handle them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lstmkit.equations.lstm import Weights, project_input, step

if TYPE_CHECKING:
    from torch import Tensor, nn


def recurrent(module: nn.Module) -> list[tuple[str, Any, bool]]:
    """(dotted name, layer, whether it is a cell) of every lstmkit.LSTM and LSTMCell inside."""
    from lstmkit.layers import LSTM, LSTMCell

    return [
        (name, layer, isinstance(layer, LSTMCell))
        for name, layer in module.named_modules()
        if isinstance(layer, (LSTM, LSTMCell))
    ]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode; afterwards every part has the mode that it had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def cell_step(
    layer: Any, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
) -> dict[str, Tensor]:
    """The gates of one call of an lstmkit.LSTMCell, from the equations."""
    weights = Weights(*(getattr(layer, name, None) for name in Weights._fields))
    zero = input.new_zeros(*input.shape[:-1], layer.hidden_size)
    h, c = hx if hx is not None else (zero, zero)
    x, h, c = (v if v.dim() == 2 else v.unsqueeze(0) for v in (input, h, c))
    found = step(project_input(x, weights), h, c, weights, coupled=layer.coupled_gates)
    return {
        "input_gate": found.input_gate,
        "forget_gate": found.forget_gate,
        "candidate": found.candidate,
        "output_gate": found.output_gate,
    }
