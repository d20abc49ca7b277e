"""`python -m moorelens` is the command `moorelens`."""

import sys

from moorelens.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
