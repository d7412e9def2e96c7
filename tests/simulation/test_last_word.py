"""A simulated user in a seat says nothing after its last word, also where the hub is quicker than usual."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from palaver.core.protocol import Ack, Join, Say
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.participants.settings import Settings
from palaver.participants.user_seat import UserSeat
from palaver.simulation import SimulatedUser
from palaver.simulation.in_room import UserInRoom
from tests.participants.fake_hub import fake_hub, grant, message


async def test_a_grant_that_overtakes_the_acknowledgement_of_the_last_message_is_passed() -> None:
    model = ScriptedModel(["Thanks. [END]", "One more thing!"])
    async with fake_hub() as hub, Link(hub.url, Join(name="Mira", role="user_sim")) as link:
        user = UserInRoom(SimulatedUser(model))
        running = asyncio.create_task(UserSeat(link, Settings(), user).run())
        seated = await hub.joined()
        await seated.welcome(seq=1, missed=1)
        await seated.send(message(1, "Well?"), grant(1, context=1))
        said = await seated.receive_a(Say)
        mine = message(2, "Thanks.", "Mira", role="user_sim")
        await seated.send(mine, message(3, "Bye."), grant(2, context=3), Ack(room="main", id=said.id, seq=2))
        with pytest.raises(ConnectionClosed):
            while not isinstance(await seated.receive(), Say):
                pass
        await running
    assert len(model.prompts) == 1
    assert [(turn.text, turn.signal) for turn in user.turns] == [("Thanks.", "[END]")]
