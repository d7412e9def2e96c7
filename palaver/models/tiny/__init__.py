"""The embedded model: a small real transformers checkpoint beside this file, made by `tools/train_tiny.py`."""

import pathlib


def path() -> pathlib.Path:
    """The checkpoint's folder, for `from_pretrained`."""
    return pathlib.Path(__file__).resolve().parent
