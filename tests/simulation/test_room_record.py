"""What was heard and said in a room, as a rollout."""

from palaver.core.message import Message, Role
from palaver.models.scripted import ScriptedModel
from palaver.simulation import SimulatedUser
from palaver.simulation.in_room import UserInRoom
from palaver.simulation.room_record import rollout_of


def test_another_simulated_users_words_are_no_assistants() -> None:
    said: list[tuple[str, Role]] = [("Mira", "user_sim"), ("Bot", "model"), ("Ann", "user_sim"), ("Bot", "model")]
    messages = [
        Message(
            room="main",
            seq=seq,
            id=str(seq),
            sender=sender,
            role=role,
            content=f"{sender} {seq}",
            timestamp="",
            meta={"model": "m", "completion_tokens": 10**seq},
        )
        for seq, (sender, role) in enumerate(said)
    ]
    rollout = rollout_of(messages, "Ann", UserInRoom(SimulatedUser(ScriptedModel([]))), max_turns=1)
    assert [message["role"] for message in rollout] == ["user", "assistant", "user", "assistant"]
    assert (rollout.prefix_length, rollout.termination_reason) == (2, "max_turns")
    assert [rollout.usage[side].completion_tokens for side in ("user", "assistant")] == [101, 1010]
    assert set(rollout.made_by) == {"Mira", "Bot", "Ann"}
