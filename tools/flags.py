"""Writes the tables of flags into README.md from the parsers themselves: `python tools/flags.py`."""

import argparse
from importlib import import_module
from pathlib import Path

from palaver.cli.common import has_default

README = Path(__file__).resolve().parent.parent / "README.md"
COMMANDS = ("server", "client", "user_sim", "moderator")


def table(command: str) -> str:
    """The flags of one command as a Markdown table."""
    parser: argparse.ArgumentParser = import_module(f"palaver.cli.{command}").parser()
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
        flag = f"`{action.option_strings[-1]}{' ' + str(value) if value and action.nargs != 0 else ''}`"
        default = "required" if action.required else f"`{action.default}`" if has_default(action) else ""
        rows.append(f"| {flag} | {default} | {(action.help or '').replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def filled(text: str) -> str:
    """README's text with its tables made anew between their markers."""
    for command in COMMANDS:
        before, marker, rest = text.partition(f"<!-- flags:{command} -->\n")
        text = before + marker + table(command) + "\n" + rest[rest.index("<!-- end -->") :]
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
