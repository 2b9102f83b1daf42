"""What the HTML pages of all tasks share: one file, no network, and no text that becomes markup.

A page is a template with @@names@@; its numbers lie in base64, its words in JSON that cannot end
the element around it, and its scripts and styles are named by digest in its security policy.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from lstmkit.style import INK, PAPER, QUIET, RULE


def assemble(template: str, scripts: Sequence[str], style: str, parts: Mapping[str, str]) -> str:
    """The page: `parts` by name, and the scripts and the style with their digests."""
    script = "\n".join(scripts)
    found = {"script": script, "script_digest": digest(script)}
    found |= {"style": style, "style_digest": digest(style), **parts}
    pieces = template.split("@@")  # text, name, text, name, ..., text
    return "".join(found[p] if k % 2 else p for k, p in enumerate(pieces))


def asset(package: str, name: str) -> str:
    """The text of a file that lies in a package."""
    return resources.files(package).joinpath(name).read_text("utf-8")


def digest(text: str) -> str:
    """SHA-256 in base64, as a Content-Security-Policy wants it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def colours(named: Mapping[str, str]) -> str:
    """CSS variables: ink, quiet, rule, paper, and the `named` ones."""
    names = {"ink": INK, "quiet": QUIET, "rule": RULE, "paper": PAPER, **named}
    return ":root{" + "".join(f"--{name}:{value};" for name, value in names.items()) + "}\n"


def packed(values: np.ndarray, kind: str) -> str:
    """Numbers as base64 of `kind`, "<f4" or "<f8"."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def numbers(values: Iterable[float]) -> list[float | None]:
    """Six significant digits; None, JSON's null, where a value is no number."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def milliseconds(time: np.ndarray) -> np.ndarray:
    """Times (n,) as JavaScript counts them, since 1970; numbers stay what they are."""
    if np.issubdtype(time.dtype, np.datetime64):
        time = time.astype("datetime64[us]").astype(np.int64) / 1000
    return np.asarray(time, np.float64)


def as_json(found: Any) -> str:
    """JSON that cannot end the script element around it."""
    text = json.dumps(found, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
