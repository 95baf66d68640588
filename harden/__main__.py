"""Entry point of `python -m harden`, the same as the command `harden`."""

import sys

from harden.cli import main

if __name__ == "__main__":
    sys.exit(main())
