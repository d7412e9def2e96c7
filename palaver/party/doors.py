"""From the keys of a party file to the flags of a door, as its own parser knows them."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Never

from palaver.config.layers import meant

NOT_HERE: Final = {
    "token": "a token stands in no file and on no command line; set PALAVER_TOKEN in the environment",
    "help": "is no setting",
}


class Door:
    """One of the programs: `server`, `client`, `user-sim`, `moderator`."""

    def __init__(self, command: str, parser: argparse.ArgumentParser) -> None:
        self.command = command
        self._parser = parser
        self._actions = {_key(action): action for action in parser._actions if action.option_strings}
        self._placeholders = [
            part for action in self._actions.values() if action.required for part in (action.option_strings[-1], "x")
        ]
        setattr(parser, "error", _raise)  # noqa: B010  # argparse would end the program

    def default(self, key: str) -> Any:
        """What holds for a flag that is not given."""
        return self._parser.get_default(key)

    def argv(self, flags: Mapping[str, Any], *, own: Iterable[str], wrong: Callable[[str, str], None]) -> list[str]:
        """The flags as arguments; `wrong` is told key and reason of each that cannot be one.

        `own` are the launcher's own keys at this place, for those who mistype them.
        """
        found: list[str] = []
        for key, value in flags.items():
            try:
                words = self._words(key, value, own)
                self._parser.parse_args([*self._placeholders, *words])
                found += words
            except ValueError as error:
                wrong(key, str(error))
        return found

    def _words(self, key: str, value: Any, own: Iterable[str]) -> list[str]:
        if key in NOT_HERE:
            raise ValueError(NOT_HERE[key])
        action, one = self._actions.get(key), self._actions.get(key.removesuffix("s"))
        if one is not None and _repeats(one) and (action is None or isinstance(value, list | dict)):
            action = one
        if action is None:
            known = [*own, *(each for each in self._actions if each not in NOT_HERE)]
            raise ValueError(f"unknown key, and no flag of {self.command}; {meant(key, known)}")
        flag = action.option_strings[-1]
        if action.nargs == 0:
            if not isinstance(value, bool):
                raise ValueError(f"must be true or false, not {value!r}")
            return [flag] if value else []
        if not isinstance(value, list | dict):
            return _pair(flag, value)
        if not _repeats(action):
            raise ValueError(f"takes one value, not {value!r}")
        items = [f"{name}:{file}" for name, file in value.items()] if isinstance(value, dict) else value
        return [word for item in items for word in _pair(flag, item)]


def _key(action: argparse.Action) -> str:
    return action.option_strings[-1].lstrip("-").replace("-", "_")


def _repeats(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)


def _pair(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool | list | dict) or value is None:
        raise ValueError(f"takes a text or a number, not {value!r}")
    text = str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def _raise(message: str) -> Never:
    raise ValueError(re.sub(r"^argument \S+: ", "", message))
