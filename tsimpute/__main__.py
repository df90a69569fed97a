"""`python -m tsimpute`: the command line."""

from __future__ import annotations

from tsimpute.cli import main

if __name__ == "__main__":
    main()
