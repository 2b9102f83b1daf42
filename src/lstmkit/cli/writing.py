"""`lstmkit predict MODEL --prompt TEXT`: text that goes on, told as it is drawn; no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstmkit.cli import checks
from lstmkit.cli.console import Console
from lstmkit.errors import UserError

TOKENS = 200  # drawn where --max-tokens is left out


def run(
    estimator: Any, output: str, options: Mapping[str, Any], as_json: bool, console: Console
) -> None:
    """Read the prompt, and write what follows it to standard output or a file."""
    given = dict(options)
    prompt, count = _prompt(given.pop("prompt")), given.pop("count", None)
    state, most = given.pop("state", None), given.pop("max_tokens", TOKENS)
    if "by" in given:
        raise UserError("--by goes with a text to score, not with a prompt")
    if count is not None and state is not None:
        raise UserError("many continuations have no one state", got="--count and --state")
    stream = estimator.stream()
    if state is not None and Path(state).exists():
        stream.read_state(state)
        console.note(f"going on from {state}")
    stream.read(prompt)
    if count is not None:
        _many(stream.continuations(count, most, **given), prompt, output, as_json, console)
    else:
        _one(stream.generate(most, **given), prompt, output, as_json, console)
    if state is not None:
        stream.write_state(state)


def _prompt(text: str) -> str:
    """As it was typed; `-` is standard input."""
    if text != checks.STREAM:
        return text
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError("the prompt is not UTF-8", got=str(error)) from None


def _one(pieces: Iterator[str], prompt: str, output: str, as_json: bool, console: Console) -> None:
    if as_json or output != checks.STREAM:
        text = "".join(pieces)
        if as_json:
            console.json({"prompt": prompt, "text": text})
        _kept(prompt + text + "\n", output, console)
        return
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _many(texts: list[str], prompt: str, output: str, as_json: bool, console: Console) -> None:
    if as_json:
        console.json({"prompt": prompt, "texts": texts})
    elif output == checks.STREAM:
        for number, text in enumerate(texts, 1):
            console.data(f"--- {number}\n{prompt}{text}")
    _kept("".join(f"--- {k}\n{prompt}{text}\n" for k, text in enumerate(texts, 1)), output, console)


def _kept(text: str, output: str, console: Console) -> None:
    """Into a file, whole or not at all, where one was named."""
    if output == checks.STREAM:
        return
    from lstmkit.modelfile import atomic_write

    with atomic_write(Path(output)) as file:
        file.write(text.encode("utf-8", "replace"))
    console.say(f"{len(text):,} characters in {output}")
