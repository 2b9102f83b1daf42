"""How parameters begin: PyTorch's way, orthogonal, or Chrono; and the forget gate's bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lstmkit.errors import UserError


@dataclass(frozen=True)
class Chrono:
    """b_f = log(U[1, t_max - 1]), b_i = -b_f: time constants up to t_max (Tallec & Ollivier 2018).

    With coupled gates, which have no b_f, b_i = -log(U[1, t_max - 1]) gives the same forget gate.
    """

    t_max: float

    def __post_init__(self) -> None:
        if not self.t_max > 2:
            raise UserError("Chrono(t_max) needs a horizon", got=f"{self.t_max}", expected="> 2")


def check(init: str | Chrono, bias: bool, coupled: bool, forget_bias: float | None) -> None:
    """Raises UserError for an initialisation that means nothing here."""
    if not isinstance(init, Chrono) and init not in ("torch", "orthogonal"):
        raise UserError(
            "unknown initialisation",
            got=repr(init),
            expected="'torch', 'orthogonal', Chrono(t_max)",
        )
    if isinstance(init, Chrono) and forget_bias is not None:
        raise UserError("Chrono sets the forget gate's bias itself: leave forget_bias out")
    if not bias and (isinstance(init, Chrono) or forget_bias is not None):
        raise UserError("a forget gate's bias needs bias=True")
    if coupled and forget_bias is not None:
        raise UserError(
            "coupled gates have no forget bias (f = 1 - i)", hint="init=Chrono(t_max) sets b_i"
        )


@torch.no_grad()
def initialise(
    parameters: Mapping[str, Tensor],
    hidden_size: int,
    coupled: bool,
    init: str | Chrono,
    forget_bias: float | None,
) -> None:
    """Fills the parameters of one layer and direction, by name without suffix.

    "torch" is U(-1/sqrt(H), 1/sqrt(H)) for all; norms begin as the identity.
    """
    bound = hidden_size**-0.5 if hidden_size > 0 else 0.0
    for name, p in parameters.items():
        if name.startswith("norm_"):
            nn.init.constant_(p, 0.0 if name == "norm_c_bias" else 1.0)
        elif init == "orthogonal":
            _orthogonal(name, p, hidden_size)
        else:
            nn.init.uniform_(p, -bound, bound)
    if isinstance(init, Chrono):
        _chrono(parameters, hidden_size, coupled, init.t_max)
    elif forget_bias is not None:
        parameters["bias_ih"][hidden_size : 2 * hidden_size] = forget_bias
        parameters["bias_hh"][hidden_size : 2 * hidden_size] = 0.0


def _orthogonal(name: str, p: Tensor, hidden_size: int) -> None:
    """Orthogonal recurrent blocks (Saxe 2014), Glorot inputs, zero biases and peepholes."""
    if name in ("weight_hh", "weight_ih"):
        fill = nn.init.orthogonal_ if name == "weight_hh" else nn.init.xavier_uniform_
        for block in p.split(hidden_size):
            fill(block)
    elif name == "weight_hr":
        nn.init.orthogonal_(p)
    else:
        nn.init.zeros_(p)


def _chrono(parameters: Mapping[str, Tensor], H: int, coupled: bool, t_max: float) -> None:
    bias = parameters["bias_ih"]
    drawn = torch.empty_like(bias[:H]).uniform_(1.0, t_max - 1.0).log()
    nn.init.zeros_(bias)
    nn.init.zeros_(parameters["bias_hh"])
    bias[:H] = -drawn
    if not coupled:
        bias[H : 2 * H] = drawn
