"""The local engine: one set of weights, one thread that decodes, any number of conversations on it.

It knows tokens, caches and devices; it does not know rooms, names or who speaks next. Importing it loads torch.
"""

from palaver.models.engine.engine import Engine
from palaver.models.engine.loading import Loaded, load_weights
from palaver.models.engine.request import Request
from palaver.models.engine.sampling import Sampling

__all__ = ["Engine", "Loaded", "Request", "Sampling", "load_weights"]
