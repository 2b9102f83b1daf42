"""Where sequences enter a module: its first recurrent layer's input, as a leaf for gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.inspection.record import lengths_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def recurrent_parts(module: nn.Module) -> list[Any]:
    """Every torch.nn.RNNBase inside: ours and PyTorch's own.

    Raises:
        UserError: there is none.
    """
    from torch import nn

    found = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    if not found:
        raise UserError(
            "there is no recurrent layer in this module",
            expected="lstmkit.LSTM, or any torch.nn.RNNBase",
        )
    return found


@dataclass
class Entrance:
    """What the first recurrent layer was given, as a leaf that gradients arrive at."""

    leaf: Tensor
    batch_first: bool
    unpack: Callable[[Tensor], Tensor] | None = None

    def time_first(self, gradient: np.ndarray) -> np.ndarray:
        """(T, N, I) of a gradient in the leaf's own layout."""
        import torch

        if self.unpack is not None:
            found: np.ndarray = self.unpack(torch.from_numpy(gradient)).numpy()
            return found
        gradient = gradient if gradient.ndim == 3 else gradient[:, None]
        return gradient.swapaxes(0, 1) if self.batch_first and self.leaf.dim() == 3 else gradient


@contextmanager
def watched_input(layers: Sequence[Any]) -> Iterator[list[Any]]:
    """The input of whichever layer runs first becomes a leaf; it and its lengths are noted."""
    from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

    seen: list[Any] = []

    def before(layer: Any, args: Any, kwargs: Any) -> Any:
        if seen:
            return None
        given = args[0] if args else kwargs["input"]
        lengths = lengths_of(given, kwargs)
        if isinstance(given, PackedSequence):
            leaf = given.data.detach().requires_grad_()
            entered: Any = given._replace(data=leaf)
            seen.append((Entrance(leaf, False, lambda g: _unpacked(given, g)), lengths))
        else:
            leaf = entered = given.detach().requires_grad_()
            seen.append((Entrance(leaf, layer.batch_first), lengths))
        return ((entered, *args[1:]), kwargs) if args else ((), {**kwargs, "input": entered})

    def _unpacked(packed: Any, gradient: Tensor) -> Tensor:
        padded: Tensor = pad_packed_sequence(packed._replace(data=gradient.to(packed.data)))[0]
        return padded.double()

    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def entrance(seen: list[Any]) -> tuple[Entrance, Any]:
    """What `watched_input` noted, and the lengths.

    Raises:
        UserError: no layer ran.
    """
    if not seen:
        raise UserError("the module did not call any of its recurrent layers")
    found: tuple[Entrance, Any] = seen[0]
    return found


def anchors(anchor: Any, lengths: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(N,) the last step that is looked at."""
    T, N = shape[:2]
    if anchor is None:
        anchor = T - 1 if lengths is None else np.asarray(lengths.cpu()) - 1
    found = np.broadcast_to(np.asarray(anchor, np.int64), (N,))
    if (found >= T).any():
        raise UserError(f"the anchor {found.max()} is no step", expected=f"0 to {T - 1}")
    return found
