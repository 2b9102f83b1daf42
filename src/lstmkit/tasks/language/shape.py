"""How large a language model is, how it is regularised and trained: the sizes by name; no torch.

`large` is the recipe of AWD-LSTM (Merity et al. 2017) on words, and its recipe on characters
(Merity et al. 2018); the smaller ones learn by AdamW under one cycle, in hours or minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

WORDS = ("word", "subword")
ADAPTIVE_FROM = 75_000  # symbols from which a softmax in clusters pays
CUTOFFS = (0.04, 0.2)  # shares of a vocabulary after which the next cluster begins
DIVISOR = 4  # by which a cluster's vectors are narrower than those of the one before


@dataclass(frozen=True)
class Shape:
    """The layers: a table of `embedding` numbers a symbol, LSTMs of `hidden` cells each.

    Attributes:
        symbols: V, rows of the table and numbers of an answer.
        cutoffs: where the clusters of an adaptive softmax (Grave et al. 2017) end; () is one
            softmax over all symbols, tied to the table (Press & Wolf 2017) where the last layer is
            as wide as the table.
    """

    symbols: int
    embedding: int
    hidden: tuple[int, ...]
    cutoffs: tuple[int, ...] = ()

    @property
    def tied(self) -> bool:
        """Whether the answers use the table itself."""
        return self.embedding == self.hidden[-1] and not self.cutoffs

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Shape:
        """The inverse of to_json."""
        return cls(
            int(stored["symbols"]),
            int(stored["embedding"]),
            tuple(int(n) for n in stored["hidden"]),
            tuple(int(n) for n in stored["cutoffs"]),
        )


@dataclass(frozen=True)
class Recipe:
    """How a model learns; the names of AWD-LSTM's paper stand behind each.

    Attributes:
        dropout_embedding: share of symbols whose vector is 0 in a step (Gal & Ghahramani 2016).
        dropout_input, dropout_between, dropout_output: of what goes into the first layer, between
            layers, out of the last: one mask a sequence (variational).
        weight_drop: of the weights from state to state, one mask a step (DropConnect).
        activation_penalty: alpha, of the mean square of the last outputs (AR).
        slowness_penalty: beta, of the mean square of their changes (TAR).
        bptt: steps that gradients go back, on average.
        batch_size: streams that are read side by side.
        averaging: "none", "ema" (exponential, of the last few hundred steps) or "triggered" (plain,
            from when the score stalls: NT-ASGD).
    """

    dropout_embedding: float = 0.0
    dropout_input: float = 0.0
    dropout_between: float = 0.0
    dropout_output: float = 0.0
    weight_drop: float = 0.0
    activation_penalty: float = 0.0
    slowness_penalty: float = 0.0
    optimizer: str = "adamw"
    schedule: str = "one_cycle"
    averaging: str = "none"
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    bptt: int = 35
    batch_size: int = 20
    epochs: int = 20

    def with_options(self, given: Mapping[str, Any]) -> Recipe:
        """Another, where options are given under the names here."""
        names = {field.name for field in fields(self)}
        return replace(self, **{k: v for k, v in given.items() if k in names and v is not None})


_AWD = Recipe(
    dropout_embedding=0.1,
    dropout_input=0.4,
    dropout_between=0.25,
    dropout_output=0.4,
    weight_drop=0.5,
    activation_penalty=2.0,
    slowness_penalty=1.0,
    optimizer="sgd",
    schedule="constant",
    averaging="triggered",
    learning_rate=30.0,
    weight_decay=1.2e-6,
    clip=0.25,
    bptt=70,
    batch_size=20,
    epochs=500,
)
_AWD_CHARACTERS = Recipe(
    dropout_input=0.1,
    dropout_between=0.25,
    dropout_output=0.1,
    weight_drop=0.5,
    optimizer="adamw",
    schedule="one_cycle",
    learning_rate=2e-3,
    weight_decay=1.2e-6,
    clip=0.25,
    bptt=150,
    batch_size=128,
    epochs=50,
)
_SMALL = Recipe(
    dropout_embedding=0.05,
    dropout_input=0.2,
    dropout_between=0.2,
    dropout_output=0.3,
    weight_drop=0.2,
    epochs=30,
)
_SMALL_CHARACTERS = Recipe(
    dropout_between=0.1,
    dropout_output=0.1,
    learning_rate=5e-3,
    bptt=100,
    batch_size=32,
    epochs=12,
)

# embedding, hidden, recipe
_WORDS: dict[str, tuple[int, tuple[int, ...], Recipe]] = {
    "tiny": (100, (100,), replace(_SMALL, dropout_input=0.1, weight_drop=0.0, epochs=10)),
    "small": (200, (200, 200), _SMALL),
    "medium": (
        650,
        (650, 650),
        replace(
            _SMALL,
            dropout_embedding=0.1,
            dropout_input=0.4,
            dropout_between=0.3,
            dropout_output=0.5,
            weight_drop=0.4,
            learning_rate=2e-3,
            epochs=60,
        ),
    ),
    "large": (400, (1150, 1150, 400), _AWD),
}
_CHARACTERS: dict[str, tuple[int, tuple[int, ...], Recipe]] = {
    "tiny": (32, (128,), replace(_SMALL_CHARACTERS, dropout_output=0.0, epochs=8)),
    "small": (64, (256, 256), _SMALL_CHARACTERS),
    "medium": (
        128,
        (512, 512),
        replace(
            _SMALL_CHARACTERS,
            dropout_between=0.3,
            dropout_output=0.4,
            weight_drop=0.2,
            learning_rate=3e-3,
            epochs=25,
        ),
    ),
    "large": (200, (1000, 1000, 200), _AWD_CHARACTERS),
}


def shape(
    kind: str,
    size: str,
    symbols: int,
    *,
    width: int | None = None,
    layers: int | None = None,
    embedding: int | None = None,
    softmax: str = "auto",
) -> Shape:
    """The layers of a size for tokens of a kind; `width` and `layers` make them all alike."""
    wide, hidden, _ = _sizes(kind)[size]
    if width is not None or layers is not None:
        each = hidden[0] if width is None else width
        hidden = (each,) * (len(hidden) if layers is None else layers)
        wide = hidden[-1]
    adaptive = softmax == "adaptive" or (softmax == "auto" and symbols >= ADAPTIVE_FROM)
    ends = sorted({max(1, round(share * symbols)) for share in CUTOFFS}) if adaptive else []
    clusters = 0  # none without a vector
    while hidden[-1] // DIVISOR ** (clusters + 1) > 0:
        clusters += 1
    cutoffs = tuple(end for end in ends if end < symbols)[:clusters]
    return Shape(symbols, wide if embedding is None else embedding, hidden, cutoffs)


def recipe(kind: str, size: str) -> Recipe:
    """How a size learns tokens of a kind."""
    return _sizes(kind)[size][2]


def _sizes(kind: str) -> dict[str, tuple[int, tuple[int, ...], Recipe]]:
    return _WORDS if kind in WORDS else _CHARACTERS
