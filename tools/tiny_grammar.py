"""The tiny model's corpus: invented conversations as one participant sees them, every choice from one generator.

A conversation is seen the way the network shows it to a model: own words are `assistant`, everybody else's are `user`
with `Name: ` before them, neighbours merged by a newline, the personality first.
"""

from dataclasses import dataclass, field, replace
from random import Random

import tiny_lexicon as lexicon
import tiny_topics as stock
from tiny_lexicon import CURIOUS, END, PASS, PERSONAS, Persona
from tiny_words import FILES, Words

PERSONAS_AND_USER = PERSONAS | {"curious_user": CURIOUS}
HEADS = ("Should", "Could", "Can", "Will", "Why do", "How can", "When will", "Would", "Do", "How did")
WHO = ("we", "people", "cities", "children", "you", "robots", "they", "our neighbours", "most of us", "teachers")
VERBS = (
    "live without", "pay for", "learn from", "protect", "understand", "forget", "laugh about", "prepare for", "buy",
    "invent", "stop", "need", "use", "teach", "ban", "talk about", "get better at", "believe in",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """Something said. `copied` are the words it takes from before: whoever cannot see them cannot learn the line."""

    speaker: str
    text: str
    copied: tuple[str, ...] = ()
    learn: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a prompt: `pieces` are (text, weight in the loss); the pieces of a user turn are whole lines."""

    role: str
    pieces: tuple[tuple[str, str, float], ...]
    """(label such as `Moderator:` or nothing, text, weight)"""
    copied: tuple[str, ...] = ()
    """Words of the learnt pieces that stand in what came before."""

    @property
    def content(self) -> str:
        return "\n".join(f"{label} {text}" if label else text for label, text, _ in self.pieces)


@dataclass(slots=True)
class Document:
    """One training example, and what is to be measured of its last reply."""

    kind: str
    persona: str
    turns: list[Turn]
    topic: str
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Member:
    name: str
    kind: str
    persona: Persona
    key: str = ""
    used: set[str] = field(default_factory=set)


def system_prompt(random: Random, member: Member, topic: str) -> str:
    """A personality: a shipped file under another name, or one made up in the same format."""
    if member.kind in FILES and random.random() < 0.4:
        text = FILES[member.kind]
        own = text[len("You are ") : text.index(",")]
        return text.replace(own, member.name, 1)
    if member.kind == "assistant" and random.random() < 0.3:
        return f"You are {member.name}."
    text = f"You are {member.name}, {random.choice(member.persona.describes).replace('{T}', topic)}."
    rules = random.sample(lexicon.RULES, random.randint(0, 3)) + list(member.persona.trait[: random.randint(0, 2)])
    if rules:
        text += "\n\nCORE BEHAVIORS:\n" + "\n".join(f"{i}. {rule}" for i, rule in enumerate(rules, 1))
    if random.random() < 0.2:
        text += "\n\nSpeak only for yourself. Never write another speaker's lines."
    return text


class Room:
    """One invented conversation; `play` makes it, `seen_by` shows it to a member."""

    def __init__(self, random: Random, words: Words, *, me: str | None = None) -> None:
        self.random, self.words = random, words
        kinds = [me or self._kind(), *random.sample(list(PERSONAS), random.randint(1, 3))]
        if random.random() < 0.2:
            kinds.append("curious_user")
        self.members = [
            Member(name, kind, PERSONAS_AND_USER[kind])
            for name, kind in zip(words.names(len(kinds)), kinds, strict=True)
        ]
        for member in self.members[1:]:
            if member.kind == "curious_user":
                member.name = random.choice(stock.USERS)
        self.moderator = random.choice(stock.MODERATORS) if random.random() < 0.9 else words.names(1)[0]
        self.topic, self.before = words.topic(), ""
        self.fresh = True
        self.hushed: int | None = None
        self.lines: list[Line] = []

    def _kind(self) -> str:
        return self.random.choice(list(PERSONAS)) if self.random.random() < 0.86 else "curious_user"

    def fill(self, template: str, member: Member | None = None, other: Member | None = None) -> tuple[str, list[str]]:
        """The template with its slots filled, and the words that had to be copied from before."""
        quoted = other.key if other and other.key else self.topic
        slots = {
            "{T}": self.topic,
            "{N}": other.name if other else "",
            "{M}": member.name if member else "",
            "{Q}": quoted,
            "{O}": self.before,
            "{A}": self.words.topic(),
        }
        copied = [value for slot, value in slots.items() if slot in template and slot not in ("{M}", "{A}")]
        if "{K}" in template and member:
            member.key = self.unused(member, member.persona.keys)
            slots["{K}"] = member.key
        for slot, value in slots.items():
            template = template.replace(slot, value)
        return template, copied

    def unused(self, member: Member, choices: tuple[str, ...]) -> str:
        left = [choice for choice in choices if choice not in member.used] or list(choices)
        chosen = self.random.choice(left)
        member.used.add(chosen)
        return chosen

    def play(self, count: int) -> None:
        self.ask(stock.HELLOS if self.random.random() < 0.2 else stock.ASKS)
        while len(self.lines) < count:
            chance = self.random.random()
            if self.hushed is not None:
                self.ask(stock.CLEARS if chance < 0.35 else stock.ASIDES)
                self.hushed = None if chance < 0.35 else self.hushed
            elif chance < 0.05 and not self.fresh:
                self.ask(stock.CHANGES)
            elif chance < 0.09:
                self.ask(stock.HUSHES)
                self.hushed = len(self.lines) - 1
            elif chance < 0.13 and not self.fresh:
                self.ask(stock.PROMPTS_ON)
            else:
                self.speak(self.next_speaker())

    def ask(self, templates: tuple[str, ...]) -> None:
        """The moderator speaks; asking or changing the subject makes the topic that follows."""
        template = self.random.choice(templates)
        if templates is stock.CHANGES:
            self.before, self.topic, self.fresh = self.topic, self.words.topic(), True
            template = template if self.random.random() < 0.5 else self.question()
        elif templates is stock.ASKS:
            template = self.question()
        elif templates is stock.CLEARS and self.random.random() < 0.3:
            self.before, self.topic, self.fresh = self.topic, self.words.topic(), True
            template += " " + self.random.choice((self.question(), self.random.choice(stock.CHANGES)))
        elif templates is stock.HELLOS:
            self.topic = "names"
        other = self.random.choice(self.members)
        self.lines.append(Line(self.moderator, self.fill(template, None, other)[0]))
        if templates is stock.HELLOS:
            self.introduce()
            self.topic = self.words.topic()
            self.ask(stock.ASKS)

    def question(self) -> str:
        """A template that names the topic, now and then behind another sentence."""
        template = self.random.choice(stock.ASKS)
        if self.random.random() < 0.25:
            template = " ".join(self.random.choice(part) for part in (HEADS, WHO, VERBS)) + " {T}?"
        return template if self.random.random() < 0.85 else f"{self.random.choice(stock.LEADS)} {template}"

    def introduce(self) -> None:
        for member in self.random.sample(self.members, self.random.randint(1, len(self.members))):
            text, copied = self.fill(self.random.choice(lexicon.GREETS), member)
            self.lines.append(Line(member.name, text, tuple(copied), learn=True))

    def next_speaker(self) -> Member:
        last = self.lines[-1]
        others = [member for member in self.members if member.name != last.speaker]
        called = [member for member in others if f"{member.name}," in last.text and "?" in last.text]
        if called and self.random.random() < 0.75:
            return called[0]
        return (
            self.random.choice([self.members[0], *others])
            if last.speaker != self.members[0].name
            else self.random.choice(others)
        )

    def speak(self, member: Member) -> None:
        last = self.lines[-1]
        other = next((m for m in self.members if m.name == last.speaker and m is not member), None)
        templates = self.curious(member, other) if member.kind == "curious_user" else self.opinion(member, other, last)
        self.fresh = False
        parts, copied = [], []
        for template, whom in templates:
            text, taken = self.fill(template, member, whom)
            parts.append(text)
            copied += taken
        self.lines.append(Line(member.name, " ".join(parts), tuple(copied), learn=True))

    def opinion(self, member: Member, other: Member | None, last: Line) -> list[tuple[str, Member | None]]:
        said: list[tuple[str, Member | None]] = []
        if other and f"{member.name}," in last.text and "?" in last.text:
            said.append((self.random.choice(lexicon.ANSWERS), other))
        elif other and not self.fresh and other.kind != "curious_user" and self.random.random() < 0.7:
            pool = lexicon.AGREES if self.random.random() < 0.55 else lexicon.DISAGREES
            said.append((self.random.choice(pool), other))
        elif self.fresh and self.before and self.random.random() < 0.4:
            said.append((self.random.choice(lexicon.TURNS), None))
        body = self.unused(member, member.persona.bodies)
        if not self.fresh and self.random.random() < 0.4:
            body = body.replace("{T}", "it")
        said.append((body, None))
        if self.random.random() < 0.25:
            present = [
                m for m in self.members if m is not member and any(m.name in line.speaker for line in self.lines)
            ]
            if present:
                said.append((self.unused(member, member.persona.asks), self.random.choice(present)))
        return said

    def curious(self, member: Member, other: Member | None) -> list[tuple[str, Member | None]]:
        asked = sum(line.speaker == member.name for line in self.lines)
        if (
            other
            and member is self.members[0]
            and self.random.random() < (0, 0, 0, 0.2, 0.7, 0.8, 0.9, 1)[min(asked, 7)]
        ):
            return [(self.random.choice(lexicon.FAREWELLS) + f"\n{END}", other)]
        if other is None or self.fresh:
            return [(self.unused(member, member.persona.bodies), None)]
        return [(self.unused(member, member.persona.asks), other)]

    def seen_by(self, member: Member, *, start: int, own_weight: float = 1.0, other_weight: float = 0.25) -> list[Turn]:
        """The prompt view from line `start` on; a line whose copied words are out of sight is not learnt."""
        system = system_prompt(self.random, member, self.topic)
        turns = [Turn("system", (("", system, 0.0),))]
        seen = system
        for line in self.lines[start:]:
            known = line.learn and all(word in seen for word in line.copied)
            role = "assistant" if line.speaker == member.name else "user"
            weight = (own_weight if role == "assistant" else other_weight) if known else 0.0
            piece = (f"{line.speaker}:" if role == "user" else "", line.text, weight)
            copied = line.copied if known else ()
            if role == turns[-1].role == "user":
                turns[-1] = Turn(role, (*turns[-1].pieces, piece), (*turns[-1].copied, *copied))
            else:
                turns.append(Turn(role, (piece,), copied))
            seen += f"\n{line.speaker}: {line.text}"
        return turns


def group(random: Random, words: Words, *, me: str | None = None) -> Document:
    """A room as its first member sees it, up to one of its lines, or to a silence that it keeps."""
    room = Room(random, words, me=me)
    room.play(random.choice((4, 6, 8, 8, 12, 16) if random.random() < 0.95 else (24, 40)))
    mine = room.members[0]
    own = [i for i, line in enumerate(room.lines) if line.speaker == mine.name]
    hush = room.hushed
    if hush is not None:
        room.lines.append(Line(mine.name, PASS, learn=True))
    elif own:
        ended = [i for i in own if END in room.lines[i].text]
        room.lines = room.lines[: (ended or own)[0 if ended else -1] + 1]
    else:
        room.speak(mine)
    start = 0
    if random.random() < 0.25:
        start = random.randrange(min(len(room.lines) - 1, hush or len(room.lines)))
    turns = room.seen_by(mine, start=start)
    named = any(line.speaker == room.moderator and room.topic in line.text for line in room.lines[-2:-1])
    kind = "pass" if hush is not None else "first" if named else "group"
    names = (*(member.name for member in room.members), room.moderator)
    if mine.kind == "assistant" and random.random() < 0.3:
        turns = turns[1:]
    return Document(kind, mine.kind, turns, room.topic, names)


def pair(random: Random, words: Words) -> Document:
    """Two who talk without names: a question and its answer, seen by the one or by the other."""
    room = Room(random, words, me=random.choice(("assistant", random.choice(list(PERSONAS)))))
    answerer = room.members[0]
    asker = Member(words.name(), "curious_user", CURIOUS)
    room.members = [answerer, asker]
    asking = random.random() < 0.4
    me = asker if asking else answerer
    ends = random.randint(4, 8)
    for number in range(random.randint(1, 5) if not asking else random.randint(1, ends)):
        template = random.choice(stock.ASKS) if not number else random.choice(CURIOUS.asks)
        if asking and not number:
            template = random.choice(CURIOUS.bodies)
        if asking and number == ends - 1:
            room.lines.append(_nameless(room, random.choice(lexicon.FAREWELLS) + f"\n{END}", asker, answerer))
            break
        room.lines.append(_nameless(room, template, asker, answerer))
        room.lines.append(_nameless(room, room.unused(answerer, answerer.persona.bodies), answerer, asker))
    if asking and END not in room.lines[-1].text:
        room.lines.pop()
    turns = room.seen_by(me, start=0)
    bare = [replace(turn, pieces=tuple(("", text, weight) for _, text, weight in turn.pieces)) for turn in turns]
    if not asking and random.random() < 0.3 and answerer.kind == "assistant":
        bare = [Turn("system", (("", "You are a helpful assistant.", 0.0),)), *bare[1:]][random.randint(0, 1) :]
    return Document("pair", me.kind, bare, room.topic)


def _nameless(room: Room, template: str, member: Member, other: Member) -> Line:
    template = template.replace(", {N}", "").replace("{N}, ", "").replace("{N}", "you")
    text, copied = room.fill(template[0].upper() + template[1:], member, other)
    return Line(member.name, text, tuple(copied), learn=True)


def drill(random: Random, words: Words) -> Document:
    """Words to repeat, which teaches to copy."""
    said = " ".join(words.pseudo() if random.random() < 0.6 else words.topic() for _ in range(random.randint(1, 6)))
    ask = random.choice(("Please repeat: {}", "Repeat after me: {}", "Say this again: {}", "Echo: {}"))
    turns = [Turn("user", (("", ask.format(said), 0.0),)), Turn("assistant", (("", said, 1.0),), (said,))]
    return Document("drill", "assistant", turns, said)


def document(random: Random, words: Words) -> Document:
    """One example of the corpus, in the mixture that the model is trained on."""
    kind = random.choices((group, pair, drill), (66, 12, 22))[0]
    return kind(random, words)
