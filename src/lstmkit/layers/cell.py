"""lstmkit.LSTMCell: torch.nn.LSTMCell, one step, with the variants of the cell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.equations.lstm import Weights
from lstmkit.kernels.contract import Arguments, CellOptions, Steer
from lstmkit.kernels.operators import sequence, steered
from lstmkit.layers import initialisation
from lstmkit.layers.initialisation import Chrono
from lstmkit.notation import gate_rows


class LSTMCell(nn.RNNCellBase):
    """A drop-in for torch.nn.LSTMCell: input (B, I) or (I,), state (h, c), returns (h', c').

    Keyword-only: `peephole`, `layer_norm`, `coupled_gates`, `forget_bias`, `init`, as in
    lstmkit.LSTM; parameters have the same names without suffix. `steer` is as in lstmkit.LSTM.
    """

    steer: Steer | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool = False,
        layer_norm: bool = False,
        coupled_gates: bool = False,
        forget_bias: float | None = None,
        init: str | Chrono = "torch",
    ) -> None:
        initialisation.check(init, bias, coupled_gates, forget_bias)
        G = gate_rows(coupled_gates)
        super().__init__(input_size, hidden_size, bias, num_chunks=G, device=device, dtype=dtype)
        self.peephole, self.layer_norm, self.coupled_gates = peephole, layer_norm, coupled_gates
        self.forget_bias, self.init = forget_bias, init
        factory, H = {"device": device, "dtype": dtype}, hidden_size
        if peephole:
            self.weight_peephole = nn.Parameter(torch.empty(G - 1, H, **factory))
        if layer_norm:
            self.norm_ih_weight = nn.Parameter(torch.empty(G * H, **factory))
            self.norm_hh_weight = nn.Parameter(torch.empty(G * H, **factory))
            self.norm_c_weight = nn.Parameter(torch.empty(H, **factory))
            self.norm_c_bias = nn.Parameter(torch.empty(H, **factory))
        if peephole or layer_norm or coupled_gates or forget_bias is not None or init != "torch":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew, as `init` and `forget_bias` say."""
        if "init" not in self.__dict__:  # called by RNNCellBase.__init__: PyTorch's own draw
            super().reset_parameters()
            return
        weights = dict(self.named_parameters(recurse=False))
        H = self.hidden_size
        initialisation.initialise(weights, H, self.coupled_gates, self.init, self.forget_bias)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step: (h', c'), both (B, H), or (H,) for an unbatched input."""
        self._check_dimensions(input, hx)
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            zeros = torch.zeros(x.size(0), self.hidden_size, dtype=x.dtype, device=x.device)
            hx = (zeros, zeros)
        elif not batched:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = self._step(x, hx)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))

    def _check_dimensions(self, input: Tensor, hx: tuple[Tensor, Tensor] | None) -> None:
        if input.dim() not in (1, 2):
            raise ValueError(f"LSTMCell: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for k, value in enumerate(hx or ()):
            if value.dim() not in (1, 2):
                raise ValueError(
                    f"LSTMCell: Expected hx[{k}] to be 1D or 2D, got {value.dim()}D instead"
                )

    def _check_sizes(self, x: Tensor, hx: tuple[Tensor, Tensor]) -> None:
        """What torch._VF.lstm_cell checks, in its words."""
        if x.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.size(1)} expected {self.input_size}"
            )
        for k, state in enumerate(hx):
            if state.size(0) != x.size(0):
                raise RuntimeError(
                    f"Input batch size {x.size(0)} doesn't match hidden{k} batch size "
                    f"{state.size(0)}"
                )
            if state.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{k} has inconsistent hidden_size: got {state.size(1)}, "
                    f"expected {self.hidden_size}"
                )

    def _step(self, x: Tensor, hx: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        varied = self.peephole or self.layer_norm or self.coupled_gates
        if not varied and self.steer is None:
            plain = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
            found: tuple[Tensor, Tensor] = torch._VF.lstm_cell(x, hx, *plain)
            return found
        self._check_sizes(x, hx)
        weights: dict[str, Any] = {name: getattr(self, name, None) for name in Weights._fields}
        a = Arguments(x.unsqueeze(0), *hx, **weights)
        keep = torch.is_grad_enabled()
        o = CellOptions(coupled=self.coupled_gates, training=self.training)
        if self.steer is not None:
            result = steered(a, o, self.steer)
        else:
            result = sequence(a, o, keep=keep, backend="reference")
        return result.h_n, result.c_n

    def extra_repr(self) -> str:
        shown = [super().extra_repr()]
        defaults = {"peephole": False, "layer_norm": False, "coupled_gates": False}
        for name, default in {**defaults, "forget_bias": None, "init": "torch"}.items():
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(shown)
