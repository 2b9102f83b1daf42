"""Intrusion detection: the flows of each host and host pair in order, learnt and watched."""
