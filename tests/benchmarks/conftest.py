"""Makes the benchmarks' own modules importable, as they are for `python benchmarks/fanout.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
