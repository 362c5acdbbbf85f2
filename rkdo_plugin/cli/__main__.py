"""`python -m rkdo_plugin.cli` is `rkdo`."""

import sys

from rkdo_plugin.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
