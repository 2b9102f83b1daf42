"""The interactive report: one HTML file, without network, that shows what an LSTM's gates did."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.inspection.report.packing import Plan, block, describe, plan
from lstmkit.inspection.report.sorting import orders
from lstmkit.modelfile import atomic_write
from lstmkit.style import COLOURS, INK, PAPER, QUIET, RULE, SIGNED

if TYPE_CHECKING:
    from lstmkit.inspection.view import Curve, Section, View

SCRIPTS = ("data.js", "draw.js", "page.js")
GUTTER = 92  # pixels for names, left of the panels


def write(view: View, path: str | Path) -> Path:
    """Write the report of `view` to `path`, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    text = render(view)
    with atomic_write(path) as file:
        file.write(text.encode())
    return Path(path)


def render(view: View) -> str:
    """The report of `view` as one HTML page that asks for nothing else."""
    chosen = plan(view.recording)
    meta = _meta(view, chosen)
    script = "\n".join(_asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    blocks = (
        f'<script type="text/plain" id="block-{n}-{k}">'
        f"{block(layer, n, view.recording, meta['layers'][k])}</script>"
        for n in range(chosen.samples)
        for k, layer in enumerate(view.recording.layers)
    )
    parts = {
        "digest": digest,
        "title": html.escape(view.title),
        "facts": "".join(
            f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in view.facts
        ),
        "css": _colours() + _asset("page.css"),
        "sections": "".join(_section(s) for s in view.sections),
        "meta": _json(meta),
        "blocks": "\n".join(blocks),
        "script": script,
    }
    pieces = _asset("page.html").split("@@")  # text, name, text, name, ..., text
    return "".join(parts[p] if k % 2 else p for k, p in enumerate(pieces))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _colours() -> str:
    names = {**COLOURS, "ink": INK, "quiet": QUIET, "rule": RULE, "paper": PAPER}
    names["gutter"] = f"{GUTTER}px"
    return ":root{" + "".join(f"--{name}:{value};" for name, value in names.items()) + "}\n"


def _json(found: Any) -> str:
    """JSON that cannot end the script element around it."""
    text = json.dumps(found, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _meta(view: View, chosen: Plan) -> dict[str, Any]:
    recording, n = view.recording, chosen.samples
    layers = []
    for layer in recording.layers:
        found = orders(layer, recording)
        layers.append({**describe(layer, recording, chosen, found), **found})
    return {
        "samples": list(view.samples[:n]),
        "left_out": len(view.samples) - n,
        "lengths": recording.lengths[:n].tolist(),
        "labels": [[str(label) for label in row] for row in view.labels[:n]],
        "curves": [_curve(c, n) for c in view.curves],
        "quantity": view.quantity,
        "anchor": None if view.anchor is None else np.asarray(view.anchor)[:n].tolist(),
        "attribution": None if view.attribution is None else numbers(view.attribution[:n]),
        "features": list(view.features),
        "answer": view.answer,
        "layers": layers,
        "colours": {**COLOURS, "ink": INK, "quiet": QUIET, "rule": RULE, "paper": PAPER},
        "signed": list(SIGNED),
        "gutter": GUTTER,
    }


def _curve(curve: Curve, n: int) -> dict[str, Any]:
    x = np.broadcast_to(curve.x, curve.y.shape)
    upper = None if curve.upper is None else numbers(curve.upper[:n])
    rows = {"x": numbers(x[:n]), "y": numbers(curve.y[:n]), "upper": upper}
    return {"name": curve.name, "kind": curve.kind, **rows}


def numbers(values: Any) -> Any:
    """Nested lists of six significant digits; null where a value is no number."""
    if np.ndim(values):
        return [numbers(v) for v in values]
    return float(f"{float(values):.6g}") if np.isfinite(values) else None


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.text]
    if section.svg:  # as an image of its own: ids of several drawings do not meet
        data = base64.b64encode(section.svg.encode()).decode()
        alt = html.escape(section.title)
        parts.append(f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">')
    if section.table:
        rows = [_row(r, "td" if k else "th") for k, r in enumerate(section.table)]
        parts.append(f"<div class=wide><table>{''.join(rows)}</table></div>")
    key = f' id="section-{html.escape(section.key)}"' if section.key else ""
    return f"<section{key}>{''.join(parts)}</section>"


def _row(cells: Any, tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"
