"""Matrices of weights in fewer bits: bfloat16, and int8 with a scale a row.

Each behaves as the float32 matrix that it stands for where it is looked at (`shape`, `[rows]`,
`np.asarray`), and says itself how it is multiplied, so that the equations stay as they are.
bfloat16 is storage: products are those of its float32 values. int8 is dynamic: what it is
multiplied with is rounded to int8 too, vector by vector, and the sums are of integers, exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstmkit.operations import OPERATIONS, ProgramError
from lstmkit.program import Program

LIMIT = 127  # int8 without -128: symmetric
DTYPES = ("float32", "bfloat16", "int8")


@dataclass(frozen=True, eq=False)
class BFloat16:
    """The upper halves of float32 numbers: words (..) uint16."""

    words: np.ndarray
    dtype = "bfloat16"

    @classmethod
    def of(cls, array: np.ndarray) -> BFloat16:
        """Rounded to the nearest, ties to even; what is no number stays none."""
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
        quiet = bits >> 16 | 0x40
        return cls(np.where(np.isnan(array), quiet, rounded).astype(np.uint16))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.words.shape

    @property
    def size(self) -> int:
        return self.words.size

    @property
    def nbytes(self) -> int:
        return self.words.nbytes

    def __len__(self) -> int:
        return len(self.words)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return (self.words.astype(np.uint32) << 16).view(np.float32).astype(dtype or np.float32)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(BFloat16(self.words[rows]))

    def product(self, x: np.ndarray) -> np.ndarray:
        """x (.., K) times the matrix (N, K) transposed: (.., N)."""
        found: np.ndarray = x @ np.asarray(self, x.dtype).T
        return found


@dataclass(frozen=True, eq=False)
class Int8:
    """Row n is scale[n] * values[n]: values (N, K) int8, scale (N,) float32."""

    values: np.ndarray
    scale: np.ndarray
    dtype = "int8"

    @classmethod
    def of(cls, matrix: np.ndarray) -> Int8:
        """Each row scaled so that its largest number is 127.

        Raises:
            ProgramError: a number is not finite.
        """
        matrix = np.asarray(matrix, np.float32)
        if not np.isfinite(matrix).all():
            raise ProgramError("weights that are not finite have no int8")
        values, scale = quantise(matrix)
        return cls(values.astype(np.int8), scale[:, 0])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.scale.nbytes

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return (self.values * self.scale[:, None]).astype(dtype or np.float32)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found: np.ndarray = self.values[rows] * self.scale[rows][..., None]
        return found

    def product(self, x: np.ndarray) -> np.ndarray:
        """x (.., K), rounded to int8 vector by vector, times the matrix transposed: (.., N)."""
        rounded, scale = quantise(x)
        sums = rounded.astype(np.float64) @ self.values.T.astype(np.float64)  # integers, exact
        found: np.ndarray = sums.astype(x.dtype) * (scale * self.scale)
        return found


def quantise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers -127 .. 127 and the scale of each vector (.., 1): x is about their product."""
    largest = np.abs(x).max(-1, keepdims=True, initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(largest > 0, x.dtype.type(LIMIT) / largest, 0).astype(x.dtype)
        return np.rint(x * inverse), (largest / x.dtype.type(LIMIT)).astype(x.dtype)


def lower(program: Program, dtype: str) -> Program:
    """The program with every matrix that an operation can take so in `dtype`; the rest, biases
    and gains, stays float32.

    Raises:
        ProgramError: an unknown dtype, or weights that are not finite.
    """
    if dtype not in DTYPES:
        raise ProgramError(f"weights cannot be {dtype!r}", expected=", ".join(DTYPES))
    names = matrices(program)
    kinds: Mapping[str, Any] = {"float32": _float32, "bfloat16": BFloat16.of, "int8": Int8.of}
    weights = {
        name: kinds[dtype](np.asarray(w)) if name in names else w
        for name, w in program.weights.items()
    }
    return replace(program, weights=weights)


def _float32(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)


def matrices(program: Program) -> set[str]:
    """The weights that are used as matrices and as nothing else."""
    as_matrix: set[str] = set()
    otherwise: set[str] = set()
    for point in program.entries.values():
        otherwise |= set(point.state.values()) | {port.name for port in point.outputs}
        for operation in point.operations:
            taken = OPERATIONS[operation.kind].matrices
            for role, name in operation.inputs.items():
                (as_matrix if role in taken else otherwise).add(name)
    found = {name.removeprefix("weights/") for name in as_matrix - otherwise}
    return {name for name in found if name in program.weights}


def dtype_of(program: Program) -> str:
    """Of the program's matrices."""
    low = (BFloat16, Int8)
    kinds = {w.dtype for w in program.weights.values() if isinstance(w, low)}
    return next((dtype for dtype in ("int8", "bfloat16") if dtype in kinds), "float32")
