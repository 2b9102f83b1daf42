"""Parts of the benchmarks of anomaly detection.

`worker` and `peers` run in the peers' environment, without lstmkit.
"""
