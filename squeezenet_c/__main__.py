"""`python -m squeezenet_c` is squeezenet-c."""

import sys

from .cli import main

sys.exit(main())
