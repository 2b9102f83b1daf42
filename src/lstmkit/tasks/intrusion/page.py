"""Alerts of a network as one HTML file that asks for nothing else: time, list, reasons, records."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstmkit.modelfile import atomic_write
from lstmkit.style import COLOURS
from lstmkit.tasks import pages
from lstmkit.tasks.intrusion.alerts import SEVERITIES
from lstmkit.tasks.intrusion.records import json_line

SEVERITY = {"low": "#7f8fa6", "medium": "#e69f00", "high": "#d55e00", "critical": "#a4133c"}
MOST = 5000  # alerts on a page, the worst
SCRIPTS = (("lstmkit.tasks", "canvas.js"), (__package__, "page.js"))

Alerts = Sequence[Mapping[str, Any]]


def write_page(
    path: str | Path, alerts: Alerts, *, summary: Mapping[str, Any], curves: Mapping[str, Any]
) -> Path:
    """Write the page to `path`, whole or not at all.

    Args:
        alerts: each as it was told last.
        summary: flows, hosts, source, threshold ... of what was watched.
        curves: time (seconds since 1970, of each bin), flows, top_score, threshold.
    """
    text = render(alerts, summary, curves)
    with atomic_write(path) as file:
        file.write(text.encode())
    return Path(path)


def render(alerts: Alerts, summary: Mapping[str, Any], curves: Mapping[str, Any]) -> str:
    """The page as text."""
    shown = worst_first(alerts)[:MOST]
    time = list(curves["time"])
    end = time[-1] + (time[1] - time[0] if len(time) > 1 else 1.0) if time else 1.0
    meta = {
        "clock": "second",
        "alerts": [json.loads(json_line(alert)) for alert in shown],
        "curves": {
            **curves,
            "time": time,
            "top_score": pages.numbers(curves["top_score"]),
            "threshold": pages.numbers([curves["threshold"]])[0],
        },
        "end": end,
    }
    parts = {
        "title": "Alerts of the network",
        "facts": _facts(summary),
        "summary": html.escape(said(alerts, len(shown), summary)),
        "meta": pages.as_json(meta),
    }
    scripts = [pages.asset(str(package), name) for package, name in SCRIPTS]
    template, css = (pages.asset(str(__package__), name) for name in ("page.html", "page.css"))
    named = {**SEVERITY, "top": COLOURS["forecast"]}
    return pages.assemble(template, scripts, pages.colours(named) + css, parts)


def worst_first(alerts: Alerts) -> list[Mapping[str, Any]]:
    """The gravest first, then the highest score."""
    return sorted(alerts, key=lambda a: (-SEVERITIES.index(a["severity"]), -a["score"]))


def said(alerts: Alerts, shown: int, summary: Mapping[str, Any]) -> str:
    """A sentence: how many alerts of which severity, of how many hosts."""
    if not alerts:
        return "No alert: no flow reached the level."
    names = [alert["severity"] for alert in alerts]
    parts = [f"{names.count(s):,} {s}" for s in reversed(SEVERITIES) if s in names]
    hosts = len({alert["host"] for alert in alerts})
    text = f"{len(alerts):,} alert{'s' * (len(alerts) > 1)} of {hosts:,} host{'s' * (hosts > 1)}: "
    text += ", ".join(parts) + "."
    if summary.get("suppressed"):
        text += f" {summary['suppressed']:,} more were suppressed by rule."
    return text + (f" The worst {shown:,} are listed." if shown < len(alerts) else "")


def _facts(summary: Mapping[str, Any]) -> str:
    begin, end = (str(summary[name])[:19].replace("T", " ") for name in ("from", "to"))
    found = [
        ("flows", f"{summary['flows']:,}"),
        ("hosts", f"{summary['hosts']:,}"),
        ("source", str(summary["source"])),
        *([("from", f"{begin} to {end} UTC")] if begin else []),
        ("level", f"{summary['threshold']:.2f}"),
    ]
    cells = (f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in found)
    return "".join(cells)
