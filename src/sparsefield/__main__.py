"""``python -m sparsefield``, for torchrun and for interpreters without scripts on the path."""

import sys

from sparsefield.cli import main

sys.exit(main())
