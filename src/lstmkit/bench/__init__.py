"""What `lstmkit bench` runs."""

BENCHES = {"runtime": "lstmkit.bench.runtime:bench"}
