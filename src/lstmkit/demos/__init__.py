"""What `lstmkit demo` runs: name -> module:function, without importing any."""

from __future__ import annotations

DEMOS = {
    "forecast": "lstmkit.demos.forecast:run",
    "memory": "lstmkit.demos.memory:run",
    "concepts": "lstmkit.demos.concepts:run",
}
