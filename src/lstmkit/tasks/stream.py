"""What the streams of all tasks share: rows in, answers out, and a state that survives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.program import Program
from lstmkit.readers import lines

KEY = "lstmkit-state"
VERSION = 1

Answer = dict[str, Any]


class Stream:
    """Features and the runtime: one answer a row, in constant memory, without torch.

    A subclass sets TASK and `program`, and implements `step`, `save`, `restore` and `flat`.
    """

    TASK: str
    program: Program

    def step(self, row: Mapping[str, Any]) -> Answer:
        """The answer to one row, whose cells are under the names of the training.

        Raises:
            UserError: the row cannot be used; the state is what it was.
        """
        raise NotImplementedError

    def run(self, data: str | os.PathLike[str] | Iterable[Mapping[str, Any]]) -> Iterator[Answer]:
        """The answers to rows, as they come: of an iterable, or of a file of CSV or JSON lines.

        Raises:
            UserError: a row cannot be used; the rows before it are answered.
        """
        if isinstance(data, (str, os.PathLike)):
            with Path(data).open(encoding="utf-8", newline="") as file:
                yield from self.run(lines.good(lines.rows(file)))
            return
        for row in data:
            yield self.step(row)

    def flat(self, answer: Answer) -> dict[str, Any]:
        """An answer as the cells of one CSV line; the same names each time."""
        raise NotImplementedError

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        raise NotImplementedError

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `save` of a stream of the same model."""
        raise NotImplementedError

    # --- files

    def write_state(self, path: str | os.PathLike[str]) -> None:
        """Save to one safetensors file, atomically."""
        from lstmkit import modelfile

        text = {"version": VERSION, "task": self.TASK, "program": self.program.fingerprint()}
        modelfile.write_tensors(path, self.save(), {KEY: json.dumps(text)})

    def read_state(self, path: str | os.PathLike[str]) -> None:
        """Go on from `write_state`.

        Raises:
            UserError: missing, damaged, newer, or of another model.
        """
        from lstmkit import modelfile

        state, metadata = modelfile.read_tensors(path)
        try:
            text = json.loads(metadata[KEY])
            version, task, program = int(text["version"]), text["task"], text["program"]
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path} is no state of a stream") from None
        if version > VERSION:
            raise UserError(f"{path} was saved by a newer lstmkit", got=f"version {version}")
        if task != self.TASK or program != self.program.fingerprint():
            raise UserError(
                f"{path} is the state of another model",
                hint="start anew: remove it, or name another file",
            )
        try:
            self.restore(state)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is damaged", got=str(error)[:80]) from error
