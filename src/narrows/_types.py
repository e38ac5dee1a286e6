"""Types shared by all layers."""

import os
from typing import Any

import numpy as np

PathLike = str | os.PathLike[str]
Array = np.ndarray[Any, np.dtype[Any]]
