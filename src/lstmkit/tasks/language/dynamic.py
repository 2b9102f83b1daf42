"""Dynamic evaluation (Krause et al. 2018): the weights follow the text that is read.

After each piece is scored, and only then, a step of gradient descent makes it more probable, and
the weights are drawn back to what was learnt. Steps are in units of the gradient's size so far
(RMS), as in the paper; there it comes from the training text, here from the text itself as far as
it was read, so that a model file is all that is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lstmkit.tasks.language.network import LanguageNetwork

PIECE = 20  # tokens between two steps
RATE = 1e-3  # a step, in units of the gradient's size
BACK = 2e-3  # share of the way back to what was learnt, a step
KEPT = 0.99  # of the mean square of gradients, a step
LEAST = 1e-6


def log_probs(
    network: LanguageNetwork,
    tokens: np.ndarray,
    start: int,
    rate: float = RATE,
    back: float = BACK,
    piece: int = PIECE,
) -> np.ndarray:
    """The log-probability (N,) of each token, natural, before the weights have followed it."""
    import torch

    from lstmkit.tasks.language import features

    network.train(False)
    weights = list(network.parameters())
    learnt = [w.detach().clone() for w in weights]
    squares = [torch.zeros_like(w) for w in weights]
    state, pending, found = network.begin(1), start, []
    for count, some in enumerate(features.in_pieces(np.asarray(tokens), piece), 1):
        given = torch.from_numpy(features.before(some, pending))[:, None]
        targets = torch.from_numpy(some.astype(np.int64))[:, None]
        _, shown, after = network.read(given, state)
        each = network.softmax.log_probs(
            shown.flatten(0, 1), targets.flatten(), network.embedding.weight
        )
        found.append(each.detach().numpy().copy())
        slopes = torch.autograd.grad(-each.mean(), weights)
        with torch.no_grad():
            for w, first, square, slope in zip(weights, learnt, squares, slopes, strict=True):
                square.mul_(KEPT).addcmul_(slope, slope, value=1 - KEPT)
                size = (square / (1 - KEPT**count)).sqrt_().add_(LEAST)
                w.addcdiv_(slope, size, value=-rate).lerp_(first, back)
        state = [(h.detach(), c.detach()) for h, c in after]
        pending = int(some[-1])
    with torch.no_grad():
        for w, first in zip(weights, learnt, strict=True):
            w.copy_(first)
    return np.concatenate(found)
