"""Scenes in a room of a real hub: A4.4, A4.10 to A4.12, A4.14, A4.15."""

import asyncio
import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from palaver.evaluation import EvaluatorPlugin, LLMEvaluator, Panel, RuleBasedEvaluator
from palaver.models.model import ChatMessage, Model
from palaver.models.scripted import ScriptedModel
from palaver.scenes import Agent, EpisodeLog, Patience, Scene, run_scene
from tests.hubs import joined, running

THREE = ("Ada", "Bob", "Cid")


def talking(**options: Any) -> ScriptedModel:
    """Says something new each time."""
    numbers = count(1)
    return ScriptedModel(lambda prompt: f"line {next(numbers)}", **options)


def agents(*names: str) -> list[Agent]:
    """Each with a model of its own name."""
    return [Agent(name, model=name) for name in names]


async def held(scene: Scene, models: dict[str, Model] | None = None, **options: Any) -> EpisodeLog:
    """The scene on a hub of its own."""
    async with running() as hub, asyncio.timeout(30):
        models = models or {agent.name: talking() for agent in scene.agents}
        return await run_scene(scene, models, url=hub.url, room="scene", **options)


def speakers(log: EpisodeLog) -> list[str]:
    return [message.sender for message in log.messages if message.sender != "system"]


# --- orders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("sequential", "ABCABCABC"),
        ("round-robin", "ABC"),
        ("agent_id_based", "CABCABCAB"),
    ],
)
async def test_three_agents_act_for_three_turns_in_the_order_given(order: Any, expected: str) -> None:
    """A4.14."""
    log = await held(Scene(agents(*THREE), max_turns=3, order=order, speaking_order=[2, 0, 1]))
    assert log.error is None and log.turn_count == 3
    assert "".join(name[0] for name in speakers(log)) == expected


async def test_simultaneous_agents_act_all_at_once_and_unseen() -> None:
    """A4.14: truly concurrent, each turn as long as its slowest."""
    began: list[list[ChatMessage]] = []
    together = asyncio.Barrier(3)

    class Waiting(ScriptedModel):
        async def complete(self, messages: Sequence[ChatMessage], **options: Any) -> Any:
            began.append(list(messages))
            await together.wait()  # nobody answers before all were asked
            return await super().complete(messages, **options)

    models: dict[str, Model] = {name: Waiting([f"{name} {n}" for n in range(3)]) for name in THREE}
    log = await held(Scene(agents(*THREE), max_turns=3, order="simultaneous"), models)
    assert log.error is None
    spoke = speakers(log)
    assert [sorted(spoke[place : place + 3]) for place in (0, 3, 6)] == [list(THREE)] * 3 and len(spoke) == 9
    assert not any("Bob 0" in message["content"] for prompt in began[:3] for message in prompt)
    assert all("Bob 0" in str(prompt) for prompt in began[3:6])


async def test_the_random_order_is_one_each_turn_and_seeded() -> None:
    """A4.14."""
    drawn = [speakers(await held(Scene(agents(*THREE), max_turns=8, order="random", seed=seed))) for seed in (5, 5, 6)]
    assert all(len(each) == 8 for each in drawn)
    assert drawn[0] == drawn[1] != drawn[2]


async def test_a_turn_may_be_longer_than_the_hubs_hop_limit() -> None:
    names = [f"Agent {number}" for number in range(45)]
    log = await held(Scene(agents(*names), max_turns=1, order="sequential"))
    assert log.error is None and speakers(log) == names


async def test_any_name_may_be_in_an_order() -> None:
    names = ("Zoë O'Neil, MD", "Zen Sage", "[Bob]")
    log = await held(Scene(agents(*names), max_turns=2, order="agent_id_based", speaking_order=[2, 0, 1]))
    assert log.error is None and speakers(log) == ["[Bob]", *names[:2]] * 2


async def test_one_alone_acts_turn_after_turn() -> None:
    log = await held(Scene(agents("Ada"), max_turns=3))
    assert log.error is None and speakers(log) == ["Ada"] * 3


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_without_goals_it_completes_with_messages_and_results() -> None:
    """A4.4, A4.13: the document's quick start."""
    log = await held(Scene(agents("Alice", "Bob"), scenario="Two friends discussing weekend plans", max_turns=4))
    assert log.status == "completed" and log.turn_count == 4 and len(speakers(log)) == 4
    assert log.results == {"Alice": {}, "Bob": {}}
    assert log.reasoning == "all 4 turns are done"
    assert log.statistics["share"]["Alice"] == pytest.approx(0.5)


@pytest.mark.parametrize("order", ["round-robin", "sequential", "simultaneous"])
async def test_rules_end_it_at_the_turn_they_name(order: Any) -> None:
    """A4.10: max_turn_number 3 stops at 3, and not one word is said after."""
    panel = Panel([RuleBasedEvaluator({"max_turn_number": 3})])
    log = await held(Scene(agents("Ada", "Bob"), max_turns=10, order=order), panel=panel)
    assert log.turn_count == 3 and len(speakers(log)) == (3 if order == "round-robin" else 6)
    assert "3 turns are done" in log.reasoning
    assert log.results["environment"]["terminated"]["score"] is True


async def test_leaving_ends_it_in_the_same_turn() -> None:
    """A4.10, row 4.27."""
    models: dict[str, Model] = {
        "Ada": ScriptedModel(["Hello.", "Well?"]),
        "Bob": ScriptedModel(["left the conversation"]),
    }
    log = await held(Scene(agents("Ada", "Bob"), order="sequential"), models, panel=Panel([RuleBasedEvaluator({})]))
    assert log.turn_count == 1 and log.reasoning.startswith("Bob left")
    assert speakers(log) == ["Ada", "Bob"]


async def test_without_rules_those_who_are_left_end_it_when_there_is_nobody_to_talk_to() -> None:
    models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel(["Bye.", '{"action_type": "leave"}'])}
    log = await held(Scene(agents("Ada", "Bob"), order="sequential", max_turns=9), models)
    assert log.status == "completed" and log.turn_count == 2
    assert "only Ada is left" in log.reasoning and log.messages[-1].content == "left the conversation"


async def test_three_turns_in_which_nobody_acts_are_the_last() -> None:
    """A4.10: three stale turns."""
    models: dict[str, Model] = {"Ada": ScriptedModel(["Hm."]), "Bob": ScriptedModel([])}
    panel = Panel([RuleBasedEvaluator({})])
    log = await held(Scene(agents("Ada", "Bob"), order="sequential"), models, panel=panel)
    assert log.turn_count == 4 and "nobody did anything for 3 turns" in log.reasoning
    assert [message.content for message in log.messages[-6:]] == ["did nothing"] * 6


async def test_the_judge_is_called_once_at_the_end_and_reads_everything() -> None:
    """A4.10, A4.11."""
    scores = {"believability": 5, "relationship": 0, "knowledge": 0, "secret": 0, "social_rules": 0}
    scores |= {"financial_and_material_benefits": 0, "goal": 2}
    judge = ScriptedModel([json.dumps({"Ada": scores, "Bob": {**scores, "goal": 99}})], name="judge")
    panel = Panel([RuleBasedEvaluator({"max_turn_number": 2}), LLMEvaluator({}, model=judge)])
    people = [Agent("Ada", "Ada", goal="sell the boat", secret="it leaks"), Agent("Bob", "Bob")]
    log = await held(Scene(people, order="sequential", relationship=2), panel=panel)
    [prompt] = judge.prompts
    for text in ("sell the boat", "it leaks", "acquaintance", "Turn #2", 'Bob said: "line 2"'):
        assert text in prompt[0]["content"]
    assert log.results["Ada"]["overall"]["score"] == 1.0
    assert log.results["Bob"]["goal"]["score"] is None and log.unscored == 1
    assert "Ada goal: 2" in log.reasoning and "Bob goal: unscored" in log.reasoning


async def test_without_evaluation_the_judge_is_not_called() -> None:
    """A4.11."""
    judge = ScriptedModel(["{}"])
    await held(Scene(agents("Ada", "Bob"), max_turns=2), panel=Panel([LLMEvaluator({}, model=judge)], judged=False))
    assert not judge.prompts


async def test_a_custom_evaluator_scores_every_turn() -> None:
    """A4.12, row 4.28."""
    seen: list[tuple[int, list[tuple[str, Any]]]] = []

    class Wit(EvaluatorPlugin):
        @property
        def plugin_type(self) -> str:
            return "wit"

        async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> Any:
            seen.append((turn_number, messages))
            return [("Ada", (("wit", turn_number), "as always"))]

    log = await held(Scene(agents("Ada", "Bob"), max_turns=3), panel=Panel([Wit({})]))
    assert [turn for turn, _ in seen] == [1, 2, 3]
    assert [sender for sender, _ in seen[1][1] if sender != "Environment"] == ["Ada", "Bob"]
    assert log.results["Ada"]["wit"]["score"] == 2 and log.results["Ada"]["wit"]["turns"] == [1, 2, 3]


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_model_that_fails_ends_it_and_the_reason_is_told() -> None:
    """A4.5: failed, with the error's text and what was said until then."""
    models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel(["Yes.", RuntimeError("out of memory")])}
    log = await held(Scene(agents("Ada", "Bob"), order="sequential"), models)
    assert log.status == "failed" and log.turn_count == 1
    assert log.error is not None and "Bob could not answer: out of memory" in log.error
    assert speakers(log) == ["Ada", "Bob", "Ada"] and log.reasoning.startswith("failed: Bob")


async def test_whoever_watches_hears_that_it_failed() -> None:
    models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel([RuntimeError("out of memory")])}
    async with running() as hub, joined(hub.url, "Eve", "observer", room="scene") as eve, asyncio.timeout(30):
        await run_scene(Scene(agents("Ada", "Bob")), models, url=hub.url, room="scene")
        assert "out of memory" in (await eve.until("event", kind="ended"))["text"]


async def test_a_model_that_is_not_there_is_named() -> None:
    log = await held(Scene([Agent("Ada", "gpt"), Agent("Bob", "b")]), {"b": talking()})
    assert log.status == "failed" and log.error == "model 'gpt' of Ada is unknown; known: b"


async def test_one_that_never_answers_is_given_up() -> None:
    models: dict[str, Model] = {"Ada": ScriptedModel(["so"], hang=True), "Bob": talking()}
    log = await held(Scene(agents("Ada", "Bob")), models, patience=Patience(reply=1.0))
    assert log.error == "Ada did not answer in time"


async def test_a_person_who_does_not_come_is_not_waited_for_for_ever() -> None:
    log = await held(Scene([*agents("Ada"), Agent("Eve")]), {"Ada": talking()}, patience=Patience(people=0.05))
    assert log.error == "not all came: Eve"


async def test_a_name_that_is_taken_is_an_error() -> None:
    async with running() as hub, joined(hub.url, "Ada", "observer", room="scene"), asyncio.timeout(30):
        log = await run_scene(
            Scene(agents("Ada", "Bob")), {"Ada": talking(), "Bob": talking()}, url=hub.url, room="scene"
        )
    assert log.status == "failed" and log.error is not None and "taken" in log.error


async def test_cancelling_empties_the_seats() -> None:
    scene = Scene(agents("Ada", "Bob"), max_turns=1000)
    async with running() as hub, joined(hub.url, "Mod", room="scene") as mod, asyncio.timeout(30):
        models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel(["so"], hang=True)}
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
        await mod.until("message", **{"from": "Ada"})
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        left = {(await mod.until("presence", state="left"))["name"] for _ in range(3)}
        assert {"Ada", "Bob"} < left


# --- people ----------------------------------------------------------------------------------------------------------


async def test_a_person_under_the_floor_acts_in_turn() -> None:
    """Human agents join over the hub: here as one who takes turns."""
    scene = Scene([*agents("Ada"), Agent("Eve")], max_turns=2, order="sequential")
    async with running() as hub, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, {"Ada": talking()}, url=hub.url, room="scene"))
        async with joined(hub.url, "Eve", "user_sim", room="scene") as eve:
            for text in ("Hello.", "[action] waves"):
                grant = await eve.until("grant")
                await eve.say(text, turn=grant["turn"])
            log = await work
    assert log.error is None and speakers(log) == ["Ada", "Eve", "Ada", "Eve"]
    assert log.agents == {"Ada": "scripted", "Eve": None}


async def test_a_person_with_a_moderators_seat_is_waited_for_in_every_turn() -> None:
    scene = Scene([*agents("Ada", "Bob"), Agent("Eve")], max_turns=2, order="sequential")
    models: dict[str, Model] = {"Ada": talking(), "Bob": talking()}
    async with running() as hub, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
        async with joined(hub.url, "Eve", room="scene") as eve:
            for _ in range(2):
                await eve.until("message", **{"from": "Bob"})
                await eve.say("And I say this.")
            log = await work
    assert log.error is None and log.turn_count == 2
    assert speakers(log) == ["Ada", "Bob", "Eve", "Ada", "Bob", "Eve"]


async def test_a_person_with_a_moderators_seat_has_a_turn_of_its_own_where_one_acts_after_another() -> None:
    """The usual order, and the seat that a person gets at the console: what it says in between takes nobody's turn."""
    scene = Scene([Agent("Eve"), *agents("Ada", "Bob")], max_turns=6, order="round-robin")
    models: dict[str, Model] = {"Ada": talking(), "Bob": talking()}
    async with running() as hub, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
        async with joined(hub.url, "Eve", room="scene") as eve:
            await eve.until("message", **{"from": "system"})
            for _ in range(2):
                await eve.say("My turn.")
                await eve.until("message", **{"from": "Bob"})
            log = await work
    assert log.error is None and log.turn_count == 6
    assert speakers(log) == ["Eve", "Ada", "Bob"] * 2


async def test_a_person_that_is_silent_in_its_turn_holds_nobody_up_for_ever() -> None:
    scene = Scene([Agent("Eve"), *agents("Ada", "Bob")], max_turns=4, order="round-robin")
    models: dict[str, Model] = {"Ada": talking(), "Bob": talking()}
    async with running() as hub, asyncio.timeout(30), joined(hub.url, "Eve", room="scene"):
        log = await run_scene(scene, models, url=hub.url, room="scene", patience=Patience(people=0.2))
    assert log.error is None and speakers(log) == ["Ada", "Bob"]


async def test_a_moderator_pauses_it_and_lets_it_go_on() -> None:
    scene = Scene(agents("Ada", "Bob"), max_turns=3, order="sequential")
    gate = asyncio.Event()

    class Gated(ScriptedModel):
        async def complete(self, messages: Sequence[ChatMessage], **options: Any) -> Any:
            await gate.wait()
            return await super().complete(messages, **options)

    models: dict[str, Model] = {"Ada": talking(), "Bob": Gated(["one", "two", "three"])}
    async with running() as hub, joined(hub.url, "Mod", room="scene") as mod, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
        await mod.until("message", **{"from": "Ada"})
        await mod.command("/pause")
        gate.set()
        await mod.until("floor", paused=True)
        await mod.command("/resume")
        await mod.until("event", kind="ended")
        log = await work
    assert log.error is None and log.turn_count == 3 and len(speakers(log)) == 6


async def test_a_pause_between_two_turns_is_a_pause() -> None:
    """While evaluators think the room stands paused anyway; a moderator's pause then outlasts them."""
    thinking, thought = asyncio.Event(), asyncio.Event()

    class Slow(EvaluatorPlugin):
        plugin_type = "slow"

        async def evaluate(self, turn_number: int, messages: Any) -> Any:
            thinking.set()
            await thought.wait()
            return []

    models: dict[str, Model] = {"Ada": talking(), "Bob": talking()}
    scene = Scene(agents("Ada", "Bob"), max_turns=2)
    async with running() as hub, joined(hub.url, "Mod", room="scene") as mod, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene", panel=Panel([Slow({})])))
        await thinking.wait()
        assert (await mod.command("/pause"))["text"] == "paused already, and now by you too"
        thought.set()
        for _ in range(20):  # many rounds in which the director could have gone on
            await mod.command("/status")
        assert len([one for one in mod.messages() if one["role"] == "model"]) == 1
        assert not models["Bob"].prompts  # type: ignore[attr-defined]  # a ScriptedModel
        await mod.command("/resume")
        await mod.until("event", kind="ended")
        log = await work
    assert log.error is None and speakers(log) == ["Ada", "Bob"]
    assert log.statistics["adherence"] == 1.0


async def test_adherence_knows_the_moderators_silences_and_no_other() -> None:
    models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel(["so"], hang=True), "Cid": talking()}
    scene = Scene(agents(*THREE), max_turns=2, order="sequential")
    assert (await held(scene)).statistics["adherence"] is None  # its own pauses between turns are none
    async with running() as hub, joined(hub.url, "Mod", room="scene") as mod, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
        await mod.until("message", **{"from": "Ada"})
        await mod.command("/mute Bob")
        await mod.command("/sendas Bob I speak for Bob")  # by name, and so no breach
        await mod.until("event", kind="ended")
        log = await work
    assert log.error is None and log.statistics["adherence"] == 1.0


async def test_a_moderator_ends_it() -> None:
    models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel(["so"], hang=True)}
    async with running() as hub, joined(hub.url, "Mod", room="scene") as mod, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(Scene(agents("Ada", "Bob")), models, url=hub.url, room="scene"))
        await mod.until("message", **{"from": "Ada"})
        await mod.command("/end enough of this")
        log = await work
    assert log.status == "completed" and "enough of this" in log.reasoning and "Mod" in log.reasoning


@pytest.mark.parametrize("command", ["/mute Bob", "/kick Bob"])
async def test_one_who_is_kicked_or_muted_holds_nobody_up(command: str) -> None:
    models: dict[str, Model] = {"Ada": talking(), "Bob": ScriptedModel(["so"], hang=True), "Cid": talking()}
    scene = Scene(agents(*THREE), max_turns=3, order="sequential")
    async with running() as hub, joined(hub.url, "Mod", room="scene") as mod, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
        await mod.until("message", **{"from": "Ada"})
        await mod.command(command)
        await mod.until("event", kind="ended")
        log = await work
    assert log.error is None and log.turn_count == 3
    assert "Bob" not in speakers(log) and speakers(log).count("Cid") == 3


async def test_a_person_is_told_its_part_and_nobody_else_is() -> None:
    """A4.15, for people."""
    eve_plays = Agent("Eve", secret="is-a-spy", goal="find-the-key")
    scene = Scene([*agents("Ada"), eve_plays], max_turns=1, order="sequential")
    model = talking()
    async with running() as hub, asyncio.timeout(30):
        work = asyncio.create_task(run_scene(scene, {"Ada": model}, url=hub.url, room="scene"))
        async with joined(hub.url, "Eve", "user_sim", room="scene") as eve:
            told = await eve.until("message", to="Eve")
            await eve.say("Hello.", turn=(await eve.until("grant"))["turn"])
            log = await work
    assert log.error is None and "is-a-spy" in told["content"] and "find-the-key" in told["content"]
    assert "spy" not in str(model.prompts)


async def test_what_a_moderator_redacts_reaches_no_evaluator_and_no_log() -> None:
    judge = ScriptedModel(["{}"], name="judge")
    scene = Scene([*agents("Ada"), Agent("Eve")], max_turns=1, order="sequential")
    async with running() as hub, asyncio.timeout(30):
        panel = Panel([LLMEvaluator({}, model=judge)])
        models: dict[str, Model] = {"Ada": ScriptedModel(["the-rude-word"])}
        work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene", panel=panel))
        async with joined(hub.url, "Eve", room="scene") as eve:
            said = await eve.until("message", **{"from": "Ada"})
            await eve.command(f"/redact {said['seq']} rude")
            await eve.say("Shame.")
            log = await work
    assert log.error is None and len(judge.prompts) == 1
    assert "the-rude-word" not in str(judge.prompts) and "the-rude-word" not in str(log.messages)


async def test_a_hub_that_restarts_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    scene = Scene(agents("Ada", "Bob"), max_turns=4, order="sequential")
    there = asyncio.Event()
    reached = asyncio.Event()
    said = count(1)

    async def sleep(seconds: float) -> None:
        reached.set()
        await there.wait()

    held_up = ScriptedModel(lambda prompt: f"Bob {next(said)}", delay=1, sleep=sleep)
    models: dict[str, Model] = {"Ada": talking(), "Bob": held_up}
    async with asyncio.timeout(30):
        async with running(tmp_path) as hub:
            work = asyncio.create_task(run_scene(scene, models, url=hub.url, room="scene"))
            await reached.wait()
        there.set()
        async with running(tmp_path, port=hub.port):
            log = await work
    assert log.error is None and log.turn_count == 4
    assert speakers(log) == ["Ada", "Bob"] * 4
    assert [message.seq for message in log.messages] == list(range(1, 10))


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
async def test_nobodys_goal_or_secret_enters_anothers_prompt(order: Any) -> None:
    """A4.15: of all prompts of a whole conversation, also where they stand in the profile."""
    private = {
        "Ada": ("wants-the-boat", "owes-money"),
        "Bob": ("wants-peace", "is-ill"),
        "Cid": ("wants-rum", "is-a-spy"),
    }
    people = [
        Agent("Ada", "Ada", goal=private["Ada"][0], secret=private["Ada"][1], profile="A sailor."),
        Agent("Bob", "Bob", profile={"goal": private["Bob"][0], "secret": private["Bob"][1], "occupation": "monk"}),
        Agent("Cid", "Cid", goal=private["Cid"][0], secret=private["Cid"][1]),
    ]
    models = {name: talking() for name in THREE}
    log = await held(Scene(people, max_turns=3, order=order, relationship=5), dict(models))
    assert log.error is None
    for name, model in models.items():
        assert len(model.prompts) == 3
        for prompt in model.prompts:
            for owner, texts in private.items():
                assert [text in str(prompt) for text in texts] == [owner == name] * 2
