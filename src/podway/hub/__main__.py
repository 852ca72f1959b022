"""``python -m podway.hub``: the hub by itself; `main` says what it does."""

import sys

from podway.hub.main import main

sys.exit(main())
