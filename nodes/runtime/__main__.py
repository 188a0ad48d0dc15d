"""``python -m nodes.runtime``: what a container runs."""

import sys

from nodes.runtime.worker import main

sys.exit(main())
