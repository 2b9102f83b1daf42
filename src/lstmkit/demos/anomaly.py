"""The anomaly demo: a service's metrics, watched for a week after two of learning."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmkit.demos import incidents
from lstmkit.errors import require

if TYPE_CHECKING:
    from lstmkit.cli.console import Console

PER_DAY = 1.0


def run(folder: Path, console: Console, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train without labels, watch, score beside baselines, draw; what was made, as JSON values."""
    require("torch", "train")
    from lstmkit.cli.train import Notes
    from lstmkit.readers.tables import table_of, write_table
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector
    from lstmkit.training.progress import RichProgress

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    frame = table_of(incidents.metrics(seed))
    data, learnt = folder / "metrics.csv", folder / "two_weeks.csv"
    write_table(frame, data)
    write_table(frame[: incidents.LEARNT], learnt)
    console.say(f"Three weeks of a web service, every five minutes, made up: {data}")
    console.say("Learning from the first two weeks, without labels; then watching the third.")
    model = AnomalyDetector(
        label="incident", alerts_per_day=PER_DAY, seed=seed, epochs=epochs, gap=12
    )
    model.fit(str(learnt), callbacks=[Notes(model, console), RichProgress(quiet=console.quiet)])
    report = model.evaluate(str(data))
    console.say(f"\n{report}\n")
    told = news(model.predict(str(data)), frame)
    console.say("what happened, and what was told of it:")
    for line in told:
        console.say(f"  {line}")
    saved, page, picture = (folder / n for n in ("watch.safetensors", "alerts.html", "alerts.png"))
    model.save(saved)
    model.write_plot(str(data), page)
    model.write_plot(str(data), picture)
    console.say(f"alerts, to look through:  {page}")
    console.say(f"the worst of them:        {picture}")
    console.say(f"model:                    {saved}")
    console.say(f"({time.monotonic() - started:.0f} s)  next:")
    state = folder / "watch.state"
    console.say(f"  lstmkit predict {saved} {data} --state {state} --fail-on-alert")
    return {
        "model": str(saved),
        "data": str(data),
        "pictures": {"page": str(page), "alerts": str(picture)},
        "report": report.to_dict(),
        "told": told,
    }


def news(alerts: Any, frame: Any) -> list[str]:
    """For each incident a line: the alert that met it, or that none did."""
    lines = []
    spans = [_span(rows) for rows in alerts["rows"]]
    for name, (first, count) in incidents.INCIDENTS.items():
        met = [k for k, (a, b) in enumerate(spans) if a <= first + count and b > first]
        when = str(frame["time"][first])[:16]
        if met:
            alert = alerts.row(met[0], named=True)
            lines.append(f"{when}  {name}: {alert['severity']}; {alert['reasons']}")
        else:
            lines.append(f"{when}  {name}: not told")
    return lines


def _span(rows: str) -> tuple[int, int]:
    first, _, last = rows.partition("-")
    return int(first) - 1, int(last or first)
