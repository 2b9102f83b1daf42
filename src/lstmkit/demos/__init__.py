"""What `lstmkit demo` runs: name -> module:function, without importing any."""

from __future__ import annotations

DEMOS = {
    "forecast": "lstmkit.demos.forecast:run",
    "concepts": "lstmkit.demos.concepts:run",
}
