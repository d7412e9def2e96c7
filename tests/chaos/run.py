"""One seeded run: five clients talk while faults happen to their connections and to the hubs; then the reckoning."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from palaver.core.message import Message
from palaver.core.protocol import Join, Welcome
from palaver.participants.link import Link
from tests.chaos.hubs import HubProcess, Network, Networks
from tests.chaos.party import ROLES, Client
from tests.chaos.proxy import FaultyProxy

MESSAGES: Final = 12
"""What each human says in a run; the models answer."""
FAULTS: Final = 14
DOUBLES: Final = 0.1
PATIENCE: Final = 60.0
"""Seconds after which a run that has not come to its end is stuck."""


@dataclass
class Outcome:
    """What became of one run."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    said: int = 0
    acknowledged: int = 0
    reconnects: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def broken(self) -> list[str]:
        """Everything that must not be."""
        return self.lost + self.doubled + self.differences


async def one_run(seed: int, folder: Path, networks: Networks, hubs: int = 1) -> Outcome:
    """Play the run of this seed with its files below `folder`."""
    outcome = Outcome(seed)
    started = time.monotonic()
    async with networks(folder, hubs) as network, AsyncExitStack() as stack:
        await asyncio.gather(*(hub.start() for hub in network.hubs))
        clients = [await _client(name, seed, network, stack) for name in ROLES]
        listening = [asyncio.create_task(client.listen()) for client in clients]
        try:
            async with asyncio.timeout(PATIENCE):
                await _talk_through(random.Random(seed), clients, network, outcome)
        except TimeoutError:
            outcome.differences.append(_stuck(clients))
        for client in clients:
            await client.close()
        failed = await asyncio.gather(*listening, return_exceptions=True)
        outcome.differences += [f"a link failed: {error!r}" for error in failed if error is not None]
        witnesses = [await _witness(hub) for hub in network.hubs]
        for hub in network.hubs:
            code, output = await hub.stop()
            outcome.differences += _complaints(code, output)
        truth = await network.truth()
        reckon(truth, clients, network.hubs, outcome)
        for hub, seen in zip(network.hubs, witnesses, strict=True):
            outcome.differences += _unlike(f"a late witness at {hub.folder.name} saw", seen, truth)
    outcome.seconds = time.monotonic() - started
    return outcome


async def _witness(hub: HubProcess) -> list[Message]:
    """What one who joins at the end is sent; a hub that was killed last has the room open again by it."""
    seen: list[Message] = []
    witness = Join(name=f"Witness at {hub.folder.name}", role="observer", after=0)
    async with asyncio.timeout(30), Link(hub.url, witness) as link:
        async for frame in link:
            if isinstance(frame, Message):
                seen.append(frame)
            elif isinstance(frame, Welcome):
                last = frame.seq
            if link.is_up and len(seen) >= last:
                break
    return seen


async def _client(name: str, seed: int, network: Network, stack: AsyncExitStack) -> Client:
    dice = random.Random(f"{seed} {name}")
    proxies = []
    for hub in dice.sample(network.hubs, len(network.hubs)):
        proxy = FaultyProxy(lambda hub=hub: hub.port, dice, doubles=DOUBLES)  # type: ignore[misc]  # bound now
        proxies.append(await stack.enter_async_context(proxy))
    return Client(name, proxies, dice)


async def _talk_through(dice: random.Random, clients: list[Client], network: Network, outcome: Outcome) -> None:
    humans = [client for client in clients if client.role == "moderator"]
    talking = [asyncio.create_task(client.talk(MESSAGES)) for client in humans]
    faults = Faults(dice, clients, network, outcome.faults)
    try:
        for _ in range(FAULTS):
            await asyncio.sleep(dice.random() * 0.08)
            await faults.one()
    finally:
        await faults.end()
    await asyncio.gather(*talking)
    last = max(seq for client in humans for seq in client.acknowledged.values())
    await asyncio.gather(*(client.until(last) for client in clients))
    outcome.faults["doubled frame"] += sum(proxy.doubled for client in clients for proxy in client.proxies)
    outcome.reconnects = sum(len(proxy.wires) for client in clients for proxy in client.proxies) - len(clients)


class Faults:
    """Makes one fault after the other; those that last are ended in the background."""

    def __init__(self, dice: random.Random, clients: list[Client], network: Network, counted: Counter[str]) -> None:
        self._dice, self._clients, self._hubs, self._counted = dice, clients, network.hubs, counted
        self._broker = network.broker
        self._lasting: set[asyncio.Task[None]] = set()
        self._kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "reset": (3, self._reset),
            "FIN": (2, self._fin),
            "cut in a frame": (2, self._tear),
            "delay": (2, self._delay),
            "half open": (2, self._half_open),
            "late words of an old connection": (3, self._late),
            "hub killed": (2, self._kill),
            "hub stopped": (1, self._stop),
        }
        if self._broker is not None:
            self._kinds["nats-server killed"] = (1, self._kill_broker)

    async def one(self) -> None:
        """Whatever the dice say."""
        kind = self._dice.choices(list(self._kinds), [weight for weight, _ in self._kinds.values()])[0]
        self._counted[kind] += 1
        await self._kinds[kind][1]()

    def _proxy(self) -> FaultyProxy:
        client = self._dice.choice(self._clients)
        return next((proxy for proxy in client.proxies if proxy.newest), client.proxies[0])

    def _afterwards(self, seconds: float, end: Callable[[], None]) -> None:
        async def wait() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                end()

        task = asyncio.create_task(wait())
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    async def end(self) -> None:
        """End whatever lasts."""
        for task in list(self._lasting):
            task.cancel()
        await asyncio.gather(*self._lasting, return_exceptions=True)
        for client in self._clients:
            for proxy in client.proxies:
                proxy.heal()
        for hub in self._hubs:
            hub.signal(signal.SIGCONT)

    # --- connections ---------------------------------------------------------------------------------------------

    async def _reset(self) -> None:
        if wire := self._proxy().newest:
            wire.cut(reset=True)

    async def _fin(self) -> None:
        if wire := self._proxy().newest:
            wire.cut(reset=False)

    async def _tear(self) -> None:
        if wire := self._proxy().newest:
            wire.tearing = True

    async def _delay(self) -> None:
        if wire := self._proxy().newest:
            wire.delay = self._dice.random() * 0.03

    async def _half_open(self) -> None:
        """Nothing passes for a while; then all of it does, or the connection is cut at last."""
        if wire := self._proxy().newest:
            wire.freeze()
            ends = (wire.thaw, lambda: wire.cut(reset=True))
            self._afterwards(self._dice.random() * 0.4, self._dice.choice(ends))

    async def _late(self) -> None:
        """The member comes back on a new connection while the old one's words, and its end, are still on their way."""
        if wire := self._proxy().newest:
            wire.freeze()
            await asyncio.sleep(0.03)
            wire.cut_member(reset=True)
            self._afterwards(self._dice.random() * 0.3, wire.thaw)

    # --- hubs ----------------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        hub = self._dice.choice(self._hubs)
        await hub.kill()
        await hub.start()

    async def _kill_broker(self) -> None:
        assert self._broker is not None
        await self._broker.kill()
        await asyncio.sleep(self._dice.random() * 0.3)
        await self._broker.start()

    async def _stop(self) -> None:
        hub = self._dice.choice(self._hubs)
        hub.signal(signal.SIGSTOP)
        await asyncio.sleep(self._dice.random() * 0.3)
        hub.signal(signal.SIGCONT)


# --- the reckoning ---------------------------------------------------------------------------------------------------


def reckon(truth: list[Message], clients: list[Client], hubs: list[HubProcess], outcome: Outcome) -> None:
    """What is acknowledged is in the log, once; numbers have no gap; everybody saw the log, and so did its file."""
    outcome.said = len(truth)
    if [message.seq for message in truth] != list(range(1, len(truth) + 1)):
        outcome.differences.append(f"numbers have a gap: {[message.seq for message in truth]}")
    places = {(message.sender, message.content): message.seq for message in truth}
    counted = Counter((message.sender, message.content) for message in truth)
    outcome.doubled += [f"{key} is in the log {count} times" for key, count in counted.items() if count > 1]
    for client in clients:
        outcome.acknowledged += len(client.acknowledged)
        for text, seq in client.acknowledged.items():
            if places.get((client.name, text)) != seq:
                outcome.lost.append(f"{text!r}: {seq} acknowledged, {places.get((client.name, text))} in the log")
        outcome.differences += _unlike(f"{client.name} saw", client.seen, truth)
    for hub in hubs:
        outcome.differences += _unlike(f"transcript {hub.folder.name}", hub.transcript(), truth, whole=len(hubs) == 1)


def _unlike(whose: str, had: Iterable[Message], truth: list[Message], *, whole: bool = True) -> list[str]:
    """Where one view is not the log's; it may end earlier where models spoke on after the party's end."""
    view = [(one.seq, one.sender, one.content) for one in had]
    expected = [(one.seq, one.sender, one.content) for one in truth]
    humans = [number for number, one in enumerate(truth, 1) if one.role == "moderator"]
    if view != expected[: len(view)] or (whole and len(view) < max(humans, default=0)):
        return [f"{whose} {view}, the log holds {expected}"]
    return []


def _complaints(code: int, output: str) -> list[str]:
    """A hub that ends otherwise than it should, or prints a traceback."""
    if code == 0 and "Traceback" not in output:
        return []
    return [f"a hub ended with {code}: {output[-3000:]}"]


def _stuck(clients: list[Client]) -> str:
    told = [f"{one.name} has {len(one.acknowledged)}, saw {len(one.seen)}, up: {one.link.is_up}" for one in clients]
    return f"stuck after {PATIENCE:.0f} s: {'; '.join(told)}"
