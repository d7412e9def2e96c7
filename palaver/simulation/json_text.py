"""JSON objects in what a model wrote: bare, fenced, or with words around them."""

import json
import re
from collections.abc import Iterator
from typing import Any

_FENCE = re.compile(r"```(?:json)?[ \t]*\n?(.*?)```", re.DOTALL | re.IGNORECASE)


def objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that `text` may be meant as, the likeliest first; line breaks in strings are forgiven."""
    fenced = _FENCE.findall(text)
    outermost = text[text.find("{") : text.rfind("}") + 1]
    for candidate in [*fenced, outermost]:
        try:
            value = json.loads(candidate, strict=False)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
