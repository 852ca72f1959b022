"""``python -m podway.cli``: the same as ``podway``."""

import sys

from podway.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
