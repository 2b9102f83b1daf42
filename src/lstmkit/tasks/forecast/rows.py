"""Covariates as vectors: numbers standardised, categories embedded, missing ones marked.

The same module serves rows (B, R, ..) and whole series (B, ..), and writes itself as operations of
a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.readers.covariates import Covariate

MOST_WIDTH = 16  # of a category's embedding
FLOOR = 1e-6  # of a deviation, relative to the size of the numbers


class Rows(nn.Module):
    """Columns side by side: a number is (standardised, present), a category its embedding.

    Args:
        columns: what `numbers` and `codes` hold, in that order each.
    """

    mean: Tensor
    inverse: Tensor

    def __init__(self, columns: Sequence[Covariate]) -> None:
        super().__init__()
        sizes = [len(c.categories) + 1 for c in columns if c.categories is not None]
        count = len(columns) - len(sizes)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("inverse", torch.ones(count))
        tables = [nn.Embedding(n, embedding_width(n)) for n in sizes]
        self.tables = nn.ModuleList(tables)
        self.width = 2 * count + sum(embedding_width(n) for n in sizes)

    def forward(
        self,
        numbers: Tensor | None = None,
        present: Tensor | None = None,
        codes: Tensor | None = None,
    ) -> Tensor:
        """numbers, present (.., N), codes (.., M) -> (.., D)."""
        parts = []
        if numbers is not None and present is not None:
            parts += [(numbers - self.mean) * self.inverse * present, present]
        if codes is not None:
            parts += [table(codes[..., k]) for k, table in enumerate(self.tables.children())]
        return torch.cat(parts, -1)

    @torch.no_grad()
    def standardise(self, cells: np.ndarray) -> None:
        """Take mean and deviation of each number from cells (rows, N), NaN where missing."""
        for k in range(len(self.mean)):
            seen = cells[:, k][np.isfinite(cells[:, k])].astype(np.float64)
            if not len(seen):
                continue
            self.mean[k] = seen.mean()
            least = FLOOR * max(1.0, float(np.abs(seen).max()))
            self.inverse[k] = 1 / seen.std() if seen.std() > least else 1.0


def embedding_width(rows: int) -> int:
    """Of a category with so many codes: its square root, up to MOST_WIDTH."""
    return min(MOST_WIDTH, round(rows**0.5) + 1)


def write_rows(
    builder: Any, arrays: Mapping[str, Any], prefix: str, given: Mapping[str, str | None], rank: int
) -> str:
    """`Rows.forward` as operations; `prefix` names its weights, `given` the program's values.

    `given` has `numbers`, `present`, `codes` where there are such; `rank` is their number of axes.
    """
    parts = []
    if given.get("numbers"):
        centred = builder.op("subtract", given["numbers"], weight(builder, arrays, prefix + "mean"))
        scaled = builder.op("multiply", centred, weight(builder, arrays, prefix + "inverse"))
        parts += [builder.op("multiply", scaled, given["present"]), given["present"]]
    if given.get("codes"):
        for k in range(sum(name.startswith(f"{prefix}tables.") for name in arrays)):
            one = builder.op("slice", given["codes"], axis=rank - 1, start=k, stop=k + 1)
            one = builder.op("reshape", one, shape=[0] * (rank - 1))
            table = weight(builder, arrays, f"{prefix}tables.{k}.weight")
            parts.append(builder.op("embedding", indices=one, weight=table))
    return str(builder.op("concat", *parts, axis=rank - 1))


def weight(builder: Any, arrays: Mapping[str, Any], name: str) -> str:
    """A weight of the program under the name of the torch module's."""
    return str(builder.weight(name, arrays[name]))
