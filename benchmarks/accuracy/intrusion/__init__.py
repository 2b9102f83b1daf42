"""What the benchmarks of intrusion detection share."""
