"""`python -m lstmkit` is the command `lstmkit`."""

from __future__ import annotations

from lstmkit.cli.main import main

if __name__ == "__main__":
    main()
