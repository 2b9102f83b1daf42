"""Language modelling: from text to a model that reads, measures and writes it, token by token."""
