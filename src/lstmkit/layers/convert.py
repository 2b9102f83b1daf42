"""torch.nn.LSTM to lstmkit.LSTM inside any module, and back, without touching a weight."""

from __future__ import annotations

from typing import cast

from torch import nn

from lstmkit.errors import UserError
from lstmkit.layers.lstm import LSTM, VARIANTS


def convert(module: nn.Module, *, back: bool = False) -> nn.Module:
    """Replaces every exact torch.nn.LSTM in `module` by an lstmkit.LSTM; with `back`, the reverse.

    The new layer has the same Parameter objects (an optimizer keeps working), buffers, hooks,
    training mode and requires_grad. A layer that appears twice stays one. Subclasses of nn.LSTM and
    parametrized ones are left alone. `module` is changed in place, unless it is such a layer
    itself: use what is returned.

    Raises UserError where `back` meets a variant that torch.nn.LSTM does not have; then nothing
    was changed.
    """
    source, target = (LSTM, nn.LSTM) if back else (nn.LSTM, LSTM)
    found = {m for m in module.modules() if type(m) is source}
    if back:
        for layer in found:
            _check_plain(cast(LSTM, layer))
    new: dict[nn.Module, nn.Module] = {layer: _recast(layer, target) for layer in found}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child in new:
                parent._modules[name] = new[child]
    return new.get(module, module)


def _recast(layer: nn.Module, target: type[nn.Module]) -> nn.Module:
    """The same module dictionary under another class."""
    made = target.__new__(target)
    for key, value in layer.__dict__.items():
        copied = value.copy() if isinstance(value, (dict, list, set)) else value
        made.__dict__[key] = copied
    for name, default in VARIANTS.items():
        if target is LSTM:
            made.__dict__[name] = (0.0, 0.0) if name == "zoneout" else default
        else:
            del made.__dict__[name]
    return made


def _check_plain(layer: LSTM) -> None:
    kept = {"init", "forget_bias", "backend", "recompute", "generator"}
    for name, default in VARIANTS.items():
        default = (0.0, 0.0) if name == "zoneout" else default
        if name not in kept and getattr(layer, name) != default:
            raise UserError(
                f"torch.nn.LSTM has no {name}",
                got=f"{layer}",
                hint="keep this layer as lstmkit.LSTM",
            )
