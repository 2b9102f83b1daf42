"""One page a cell: pure functions that take numpy arrays and torch tensors alike."""
