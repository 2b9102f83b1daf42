"""What `lstmkit bench` runs."""

BENCHES = {
    "runtime": "lstmkit.bench.runtime:bench",
    "memory": "lstmkit.bench.memory.suite:bench",
}
