"""The code blocks of the documents that Palaver was made from, and how they read after the renames.

`NNN.txt` beside this file holds a document's Python blocks word for word. The renames are read from `docs/seeds.md`:
in the section of a document, each row of the table headed `in the document` gives a text and what stands for it.
"""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

_HERE = Path(__file__).parent
_DOCS = _HERE.parent.parent / "docs" / "seeds.md"
_ROW = re.compile(r"^\| `([^`]+)` \| `([^`]*)` \|", re.MULTILINE)


def blocks(document: str) -> list[str]:
    """The Python blocks of a document (`001`), with its renames applied."""
    text = (_HERE / f"{document}.txt").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    table = renames(document)
    return [_renamed(block, table) for block in found]


def renames(document: str) -> Mapping[str, str]:
    """What a document's names are called here."""
    section = re.search(rf"^## {document}\b.*?(?=^## |\Z)", _DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    if section is None:
        raise LookupError(f"docs/seeds.md has no section for {document}")
    return dict(_ROW.findall(section.group()))


def run(block: str, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Execute a block as a script with `names` known; gives what it defines."""
    namespace: dict[str, Any] = {"__name__": "__main__", **(names or {})}
    exec(_compiled(block), namespace)
    return namespace


async def run_awaiting(block: str, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Execute a block that awaits at its top level."""
    namespace: dict[str, Any] = {"__name__": "__main__", **(names or {})}
    await eval(_compiled(block), namespace)
    return namespace


def _compiled(block: str) -> CodeType:
    code: CodeType = compile(block, "<document>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def _renamed(block: str, table: Mapping[str, str]) -> str:
    for theirs, ours in table.items():
        block = block.replace(theirs, ours)
    return block
