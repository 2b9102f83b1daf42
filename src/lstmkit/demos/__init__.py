"""What `lstmkit demo` runs: name -> module:function, without importing any."""

from __future__ import annotations

DEMOS = {
    "forecast": "lstmkit.demos.forecast:run",
    "anomaly": "lstmkit.demos.anomaly:run",
    "intrusion": "lstmkit.demos.intrusion:run",
    "language": "lstmkit.demos.language:run",
    "memory": "lstmkit.demos.memory:run",
    "concepts": "lstmkit.demos.concepts:run",
}
