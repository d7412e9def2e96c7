"""Ordered consumers: a subject of a stream in order, without gap or repetition, for as long as a connection lasts."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from palaver.core.errors import LogUnavailable
from palaver.hub.nats_broker import Broker

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

logger = logging.getLogger(__name__)

BEAT: Final = 1.0
"""Seconds between two looks at who was heard."""
HEARTBEAT: Final = 5
"""Beats after which the server says that a consumer lives which has nothing to say."""
QUICK: Final = 10
"""Consumers that say so at each beat: a server of a cluster that is gone is known by all of its consumers' silence."""
MISSED: Final = 3
"""Heartbeats that may be missed."""
MAKING: Final = 2.0
ATTEMPTS: Final = 5
"""Seconds that making a consumer may take before another is made: a cluster gives some to a server that is gone, for
the first seconds."""
AT_ONCE: Final = 100
"""Consumers that are being made at a time."""

Take = Callable[[int, "Msg"], None]
"""Gets a message and its number in the stream."""


class Followers:
    """All consumers of this hub.

    Each has a subscription of its own: a server delivers only to whom its subject is literally subscribed.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._by_token: dict[str, Follower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.making = asyncio.Semaphore(AT_ONCE)
        self.beats = 0
        """Our own, in which silence is counted: a hub that was itself stopped blames nobody."""

    async def open(self) -> None:
        """A new connection."""
        self._spawn(self._look_after())

    def close(self) -> None:
        """The connection has ended."""
        for task in self._tasks:
            task.cancel()
        self._by_token.clear()

    async def follow(self, stream: str, subject: str, first: int, take: Take) -> "Follower":
        """Pass on what lies in the stream under a subject, from the number `first` on, and what comes."""
        follower = Follower(self, stream, subject, first, take)
        await follower.start()
        return follower

    async def gather(self, stream: str, subject: str, first: int, take: "Callable[[int, Msg], bool]") -> None:
        """Hand over what lies in the stream under a subject, until its end or until `take` wants no more."""
        enough = asyncio.Event()

        def until_enough(number: int, message: "Msg") -> None:
            if not enough.is_set() and not take(number, message):
                enough.set()
                follower.caught_up.set()

        follower = Follower(self, stream, subject, first, until_enough)
        await follower.start()
        try:
            await self.broker.ask(follower.caught_up.wait())
        finally:
            self.stop(follower)

    def register(self, follower: "Follower", token: str) -> int:
        """From now on, it is looked after; the beats between its signs of life."""
        self._by_token[token] = follower
        return 1 if len(self._by_token) <= QUICK else HEARTBEAT

    def stop(self, follower: "Follower") -> None:
        """Nobody wants to hear it any more."""
        if self._by_token.pop(follower.token, None) is not None:
            self._spawn(self._delete(follower.stream, follower.token, follower.subscription))

    def restart(self, follower: "Follower") -> None:
        """Something is missing: begin again after the last message that was taken."""
        if self._by_token.pop(follower.token, None) is not None:
            self._spawn(self._restart(follower))

    async def _restart(self, follower: "Follower") -> None:
        old, subscription = follower.token, follower.subscription
        try:
            await follower.start()
            await self._delete(follower.stream, old, subscription)
        except LogUnavailable as error:
            self.broker.lose(str(error))

    async def _delete(self, stream: str, token: str, subscription: "Subscription | None") -> None:
        try:
            if subscription is not None:
                await self.broker.ask(subscription.unsubscribe())
            await self.broker.ask(self.broker.jetstream.delete_consumer(stream, token))
        except LogUnavailable as error:
            logger.debug("consumer %s was not deleted: %s", token, error)

    def answer(self, subject: str) -> None:
        """Tell a server that waits for it that we have read so far."""
        self._spawn(self.broker.publish(subject, b""))

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self.beats += 1
            for follower in self._silent():
                self.restart(follower)

    def _silent(self) -> list["Follower"]:
        """Those that say nothing, and all of a server of which nothing is heard."""
        heard: dict[str, int] = {}
        pace: dict[str, int] = {}
        for one in self._by_token.values():
            heard[one.server] = max(one.heard_at, heard.get(one.server, 0))
            pace[one.server] = min(one.pace, pace.get(one.server, HEARTBEAT))
        return [
            one
            for one in self._by_token.values()
            if self.beats - heard[one.server] > MISSED * pace[one.server]
            or self.beats - one.heard_at > MISSED * one.pace
        ]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Follower:
    """One subject; `after` is the number of the last message that was taken."""

    def __init__(self, followers: Followers, stream: str, subject: str, first: int, take: Take) -> None:
        self.stream = stream
        self.token = ""
        self.subscription: Subscription | None = None
        self.after = first - 1
        self.heard_at = 0
        self.pace = HEARTBEAT
        self.server = ""
        """Which of a cluster has it."""
        self.caught_up = asyncio.Event()
        """All that lay in the stream when it began has been taken."""
        self._followers = followers
        self._subject = subject
        self._take = take
        self._next = 1

    async def start(self) -> None:
        """Make the consumer, or another in the place of the last; raises `LogUnavailable`."""
        for _ in range(ATTEMPTS):
            try:
                async with self._followers.making, asyncio.timeout(MAKING):
                    return await self._make()
            except TimeoutError:
                logger.info("a consumer of %s was not made within %.0f s: making another", self._subject, MAKING)
                self._followers.stop(self)
        raise LogUnavailable(f"log: no consumer could be made within {ATTEMPTS * MAKING:.0f} s")

    async def _make(self) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        broker = self._followers.broker
        token = self.token = secrets.token_hex(8)
        subject = f"_INBOX.palaver.{token}"
        self.pace, self.server = self._followers.register(self, token), ""
        self._next, self.heard_at = 1, self._followers.beats

        async def hear(message: "Msg") -> None:
            if self.token == token:
                self._hear(message)

        self.subscription = await broker.subscribe(subject, hear)
        config = ConsumerConfig(
            name=token,
            deliver_subject=subject,
            filter_subject=self._subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.after + 1,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            flow_control=True,
            idle_heartbeat=self.pace * BEAT,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=30.0,
        )
        made = await broker.ask(broker.jetstream.add_consumer(self.stream, config))
        self.server = (made.cluster and made.cluster.leader) or ""
        if not made.num_pending:
            self.caught_up.set()

    def _hear(self, message: "Msg") -> None:
        """A message of the stream, or one of the server about the consumer."""
        self.heard_at = self._followers.beats
        fields = message.reply.split(".")
        if len(fields) < 9:
            self._hear_server(message)
            return
        place = 2 if len(fields) == 9 else 4  # $JS.ACK.stream.consumer… or $JS.ACK.domain.account.stream.consumer…
        number, own, pending = int(fields[place + 3]), int(fields[place + 4]), int(fields[place + 6])
        if own != self._next:
            self._followers.restart(self)
            return
        self._next += 1
        if number > self.after:
            self.after = number
            self._take(number, message)
        if not pending:
            self.caught_up.set()

    def _hear_server(self, message: "Msg") -> None:
        headers = message.headers or {}
        if message.reply:
            self._followers.answer(message.reply)
        elif stalled := headers.get("Nats-Consumer-Stalled"):
            self._followers.answer(stalled)
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._next - 1:
            self._followers.restart(self)
