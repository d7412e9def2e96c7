"""Who a text addresses: whole names only, the longest first, not inside quoted code."""

import re
from collections.abc import Mapping

_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_EVERYONE = re.compile(r"(?<!\w)@(?:all|everyone)\b", re.IGNORECASE)


def mentioned(text: str, names: Mapping[str, str]) -> list[str]:
    """Keys of the `names` (key to name) that `text` addresses, in the order they first appear.

    `@"Zen Sage"`, `@Zen Sage` and a bare `Zen Sage` all count, `Misa` in `Misaka` does not; `@all` means everybody.
    """
    text = _CODE.sub(lambda found: " " * len(found.group()), text)
    places: dict[str, int] = {}
    for key, name in sorted(names.items(), key=lambda item: (-len(item[1]), item[0])):
        pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        for found in pattern.finditer(text):
            places.setdefault(key, found.start())
        text = pattern.sub(lambda found: "\0" * len(found.group()), text)
    everyone = _EVERYONE.search(text)
    if everyone:
        for key in names:
            places.setdefault(key, everyone.start())
    return sorted(places, key=lambda key: places[key])
