"""The command `python -m harden.verifier DIR`, the same as `harden verify DIR`."""

import sys

from harden.verifier.verify_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
