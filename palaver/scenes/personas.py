"""What an agent is told before it acts, and what the judge is told. The only place where goals and secrets are read."""

from collections.abc import Mapping, Sequence

from palaver.core.message import same_name
from palaver.evaluation.rule_based import LEFT, NOTHING
from palaver.scenes.actions import ActionType
from palaver.scenes.scene import Agent, Scene, in_words, known_of


def persona(scene: Scene, name: str) -> str:
    """The system prompt of one agent: its own goal and secret, of the others only what it may know of them."""
    me = next(agent for agent in scene.agents if same_name(agent.name, name))
    others = [agent for agent in scene.agents if agent is not me]
    parts = [
        f"You are {me.name}." + _facts(me.fields),
        f"The situation: {scene.scenario}" if scene.scenario else "",
        *(_other(agent, scene.between(me.name, agent.name)) for agent in others),
        f"Your goal, which nobody else knows: {me.wants}" if me.wants else "",
        f"Your secret, which you keep to yourself: {me.hides}" if me.hides else "",
        _possible(scene.actions),
    ]
    return "\n".join(part for part in parts if part)


def background(scene: Scene) -> str:
    """What a judge reads first: everything, goals and secrets included."""
    lines = [f"The situation: {scene.scenario or 'none was given'}"]
    for agent in scene.agents:
        goal = f" Goal: {agent.wants}" if agent.wants else " No goal was stated."
        secret = f" Secret: {agent.hides}" if agent.hides else " No secret."
        lines.append(f"{agent.name}:{_facts(agent.fields)}{goal}{secret}")
    for place, one in enumerate(scene.agents):
        for other in scene.agents[place + 1 :]:
            if relationship := in_words(scene.between(one.name, other.name)):
                lines.append(f"{one.name} and {other.name}: {relationship}")
    return "\n".join(lines)


def _other(agent: Agent, relationship: int | str | None) -> str:
    to_you = f" ({in_words(relationship)})" if in_words(relationship) else ""
    return f"With you: {agent.name}{to_you}.{_facts(known_of(agent, relationship))}"


def _facts(fields: Mapping[str, str]) -> str:
    facts = [value if key == "text" else f"{key.replace('_', ' ')}: {value}" for key, value in fields.items()]
    return f" {'; '.join(facts)}." if facts else ""


def _possible(actions: Sequence[ActionType]) -> str:
    if set(actions) <= {"speak", "none"}:
        return "Stay in character. Write only what you say, without your name before it."
    ways = {
        "speak": "to speak, write only what you say",
        "non-verbal communication": "to show something without words, write `[non-verbal communication] ` and what",
        "action": "to do something, write `[action] ` and what you do",
        "none": f"to do nothing, write `{NOTHING}`",
        "leave": f"to leave for good, write `{LEFT}`",
    }
    listed = "\n".join(f"- {ways[action]}" for action in dict.fromkeys(actions))
    return f"Stay in character. In your turn do exactly one of these, and write nothing else:\n{listed}"
