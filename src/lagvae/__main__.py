"""``python -m lagvae`` is ``lagvae``."""

import sys

from lagvae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
