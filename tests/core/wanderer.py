"""A seeded room that lives for a long time: models that answer, hang, leave and come back, and a restless moderator."""

import random
from collections.abc import Iterator
from typing import Final

from palaver.core.commands import spec_of
from palaver.core.effects import Effect
from palaver.core.message import key_of
from palaver.core.policies import POLICIES
from palaver.core.protocol import Command
from tests.core.world import World, room_of

MODELS: Final = ("Ada", "Bob", "Zen Sage")
AGENTS: Final = (*MODELS, "Uma")
DEBATE: Final = """debate phases='[{"speakers":["Ada","Bob"],"turns":2},{"name":"all"}]'"""
COMMANDS: Final = (
    *("/pause", "/resume", "/resume", "/resume", "/step", "/step 2", "/pause Ada, Bob", "/resume Ada, Bob"),
    *("/stop {name}", "/mute {name}", "/mute {name} 30s", "/unmute {name}", "/deafen {name}", "/deafen {name} off"),
    *("/kick {name}", "/ban {name} 60s", "/unban {name}", "/floor {name}", "/floor {name} for 2", "/grant {name}"),
    *("/deny {name}", "/slow 5", "/slow off", "/approve on", "/approve off", "/approve off", "/ok all", "/drop all"),
    *("/w {name} psst", "/sys attention", "/sendas {name} I said so", "/undo", "/redact 1", "/retry {name}"),
    *("/hops 3", "/hops 40", "/hops 40", "/hops 40", "/lease 20", "/lease 120", "/alarm pause=on", "/alarm pause=off"),
    *("/budget {name} messages=9", "/budget {name} messages=off", "/budget all messages=30 seconds=500"),
    *("/budget {name} seconds=10", "/budget {name} seconds=off", "/budget all messages=off seconds=off"),
)


def live(seed: int, steps: int) -> Iterator[tuple[World, str, list[Effect]]]:
    """Each step's kind (`message`, `left`, `/pause` …) and effects, right after it was taken."""
    chance = random.Random(seed)
    world = room_of(*MODELS)
    world.join("Uma", role="user_sim")
    for _ in range(steps):
        world.now += chance.choice((0.0, 0.1, 2.0, 8.0))
        kind = chance.choices(
            ("answer", "adversary", "command", "policy", "person", "come", "go", "time", "restart", "end"),
            (40, 6, 24, 8, 8, 10, 4, 6, 0.3, 1.0),
        )[0]
        place = len(world.log)
        _one_step(world, kind, chance)
        for entry in world.log[place:]:
            frame = entry.frame
            verb = f"/{spec_of(frame.text).verb}" if isinstance(frame, Command) else type(frame).__name__.lower()
            yield world, "message" if verb == "say" else verb, world.effects
        if world.state.ended:
            return


def _one_step(world: World, kind: str, chance: random.Random) -> None:
    name = chance.choice(AGENTS)
    holders = world.holders()
    match kind:
        case "answer" if holders:
            _answer(world, chance.choice(holders), chance)
        case "adversary":
            world.say(name, "let me in", turn=chance.randrange(world.state.floor.turn + 2))
        case "command":
            world.command(chance.choice(COMMANDS).format(name=name))
        case "policy":
            world.command("/policy " + chance.choice((*POLICIES, DEBATE, "simultaneous", "selector by=Ada")))
        case "come" if key_of(name) not in world.state.members:
            world.join(name, role="user_sim" if name == "Uma" else "model", ready=chance.random() < 0.8)
        case "come":
            world.status(name, chance.choice(("loading", "ready", "ready", "ready")))
        case "go" if key_of(name) in world.state.members:
            world.leave(name)
        case "time":
            world.wait(chance.choice((1.0, 30.0, 130.0)))
        case "restart":
            world.restart()
            world.join("Mod", role="moderator")
        case "end":
            world.command("/end")
        case _:
            world.say("Mod", chance.choice(("go on", "Ada, Bob?", "@all", "Zen Sage!")))


def _answer(world: World, name: str, chance: random.Random) -> None:
    what = chance.random()
    if what < 0.8:
        world.say(name, f"{name} says {chance.choice(('yes', 'no, Bob', 'the same again and again'))}")
    elif what < 0.9:
        world.pass_turn(name, failed=chance.random() < 0.5)
    else:
        world.raise_hand(chance.choice(AGENTS), chance.random())
