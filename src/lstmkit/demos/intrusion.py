"""The intrusion demo: an office network, captured; two days learnt, the next one watched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmkit.demos import traffic
from lstmkit.errors import require

if TYPE_CHECKING:
    from lstmkit.cli.console import Console
    from lstmkit.demos.traffic import Truth

HOSTS, LEARNT = 50, 48.0  # hours
PER_DAY = 5.0
EPOCHS = 22
ANOTHER = 1000  # between the seeds of the two days


def run(folder: Path, console: Console, seed: int, epochs: int | None) -> dict[str, Any]:
    """Capture, train without labels, watch, say what was found; what was made, as JSON values."""
    require("torch", "train")
    from lstmkit.cli.train import Notes
    from lstmkit.readers.flows import read
    from lstmkit.tasks.intrusion.estimator import IntrusionDetector
    from lstmkit.training.progress import RichProgress

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    quiet, watched = folder / "learnt.pcap", folder / "watched.pcap"
    calm = traffic.write(quiet, traffic.scenario(seed + ANOTHER, HOSTS, LEARNT, attacks=False))
    truth = traffic.write(watched, traffic.scenario(seed, HOSTS, day=2))
    console.say(
        f"Two days of an office of {HOSTS} hosts, made up: {quiet}, {calm.packets:,} packets;"
    )
    console.say(f"and the next one, {watched}, in which three hosts do what they should not.")
    model = IntrusionDetector(
        home_net=traffic.HOME, alerts_per_day=PER_DAY, size="tiny", seed=seed,
        epochs=epochs or EPOCHS,
    )  # fmt: skip
    model.fit(str(quiet), callbacks=[Notes(model, console), RichProgress(quiet=console.quiet)])
    labelled = traffic.label(read(str(watched)).all(), truth)
    report = model.evaluate(labelled)
    console.say(f"\n{report}\n")
    alerts = model.predict(str(watched))
    lines = news(alerts, truth)
    console.say("what happened, and what was told of it:")
    for line in lines:
        console.say(f"  {line}")
    saved, page = folder / "ids.safetensors", folder / "alerts.html"
    picture = folder / "alerts.png"
    model.save(saved)
    model.write_plot(str(watched), page)
    model.write_plot(str(watched), picture)
    console.say(f"alerts, to look through:  {page}")
    console.say(f"over the day:             {picture}")
    console.say(f"model:                    {saved}")
    console.say(f"({time.monotonic() - started:.0f} s)  next, packets as they come:")
    console.say(f"  cat {watched} | lstmkit stream {saved} --format pcap")
    return {
        "model": str(saved),
        "data": [str(quiet), str(watched)],
        "pictures": {"page": str(page), "alerts": str(picture)},
        "report": report.to_dict(),
        "told": lines,
    }


def news(alerts: Any, truth: Truth) -> list[str]:
    """For each attack a line: the first alert of its host in its time, or that there was none; and
    how many alerts there were besides."""
    lines, met = [], set()
    rows = alerts.rows(named=True)
    for attack in truth.attacks:
        begun = str(_moment(attack.start))
        ours = [k for k, row in enumerate(rows) if _of(row, attack.host, begun)]
        met |= set(ours)
        said = "not told"
        if ours:
            row = rows[ours[0]]
            said = f"{row['severity']}, {row['class']}, at {row['time'][11:16]}; {row['reasons']}"
        lines.append(f"{begun[11:16]} {attack.name} from {attack.host}: {said}")
    return [*lines, f"false alerts: {len(rows) - len(met)}"]


def _of(row: dict[str, Any], host: str, begun: str) -> bool:
    return bool(row["host"] == host and row["time"] >= begun)


def _moment(seconds: float) -> Any:
    import numpy as np

    return np.datetime64(int(seconds), "s")
