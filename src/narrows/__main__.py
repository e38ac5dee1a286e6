"""``python -m narrows``, and ``torchrun -m narrows``."""

from narrows.cli import main

main()
