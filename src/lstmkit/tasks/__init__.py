"""Tasks: from a user's file to a trained, evaluated, explained and saved model; see `catalog`."""
