"""Plans for tests, made as `palaver up` makes them."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest

from palaver.cli.up import DOORS
from palaver.config import loading
from palaver.core.errors import ConfigError
from palaver.party.doors import Door
from palaver.party.plan import plan
from palaver.party.process import Plan, Process
from palaver.party.schema import party_file


def planned(text: str, environ: Mapping[str, str] | None = None, **more: Any) -> Plan:
    """The plan of a party file, called in /here under the Python `py`."""
    environ = environ or {}
    document = loading.parse(text, "party.yaml", environ)
    doors = {door: Door(door, import_module(f"palaver.cli.{door.replace('-', '_')}").parser()) for door in DOORS}
    party = party_file(document, name="party")
    return plan(party, document, doors, environ=environ, folder="/here", python="py", free_port=4711, **more)


def only(text: str, environ: Mapping[str, str] | None = None) -> Process:
    """The only process besides the hub."""
    (process,) = planned(text, environ).processes[1:]
    return process


def refused(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Why a party file cannot be used."""
    with pytest.raises(ConfigError) as caught:
        planned(text, environ)
    return str(caught.value)
