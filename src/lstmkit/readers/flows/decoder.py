"""What turns bytes into flows, piece by piece: one class a format, all of this shape."""

from __future__ import annotations

import json
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lstmkit.readers.flows.schema import Flows

LONGEST_LINE = 1 << 20  # bytes; a longer one is refused, and skipped without being kept
REMEMBERED = 20  # refusals that are kept word for word


class Refusal(NamedTuple):
    """A record that is none: its line (or packet) number, from 1, and why."""

    number: int
    why: str


class Decoder:
    """Bytes in, flows out, in constant memory; never an exception for what the bytes hold.

    A subclass sets FORMAT and implements `feed`, `finish`, `state` and `set_state`.

    Attributes:
        answered: records that became flows.
        refused: records that could not; `refusals` are the last few of them.
    """

    FORMAT: ClassVar[str]

    def __init__(self) -> None:
        self.answered = self.refused = 0
        self.refusals: list[Refusal] = []

    def feed(self, data: bytes) -> Flows:
        """The flows that are complete with these bytes; the rest waits for more.

        Raises:
            UserError: the bytes are of another format altogether (a wrong header, wrong columns).
        """
        raise NotImplementedError

    def finish(self) -> Flows:
        """The end of the input: a last line without its end, flows that were still open."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """All that decides what the next bytes mean, as JSON values (pending bytes as latin-1)."""
        raise NotImplementedError

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        raise NotImplementedError

    def refuse(self, number: int, why: str) -> None:
        """Count a record that cannot be used."""
        self.refused += 1
        self.refusals = [*self.refusals, Refusal(number, why)][-REMEMBERED:]

    def save(self) -> np.ndarray:
        """State and counts as bytes (uint8)."""
        found = {"format": self.FORMAT, "answered": self.answered, "refused": self.refused}
        text = json.dumps({**found, "state": self.state()})
        return np.frombuffer(text.encode(), np.uint8).copy()

    def restore(self, saved: np.ndarray) -> None:
        """Go on from `save`, of a decoder of this format."""
        found = json.loads(saved.tobytes())
        if found["format"] != self.FORMAT:
            raise ValueError(f"a state of {found['format']}, not of {self.FORMAT}")
        self.answered, self.refused = int(found["answered"]), int(found["refused"])
        self.set_state(found["state"])
