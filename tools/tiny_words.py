"""Names and topics for the tiny model's corpus: known ones, invented ones, and those kept for measuring."""

import pathlib
import re
from dataclasses import dataclass
from random import Random

import tiny_lexicon as lexicon
import tiny_topics as stock

PROMPTS = pathlib.Path(__file__).resolve().parent.parent / "prompts"
FILES = {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted(PROMPTS.glob("*.txt"))}
"""The shipped personality files."""
ONSETS = stock.words(
    "b br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p ph pl pr qu r s sh sk sl st str t th tr v w"
)
VOWELS = stock.words("a e i o u a e i o ai au ea ee ie io oo ou y")
CODAS = ("", "", "", "", *stock.words("b ck d ft g l ld ll m mp n nd ng nk nt p r rd rk rm rn rt s ss st t th x"))
ENDINGS = stock.words("s ing er tion ness ology ism ment ship ball ography ics ity")
TITLES = ("Dr.", "Old", "Lady", "Professor", "Agent", "Little")


def _english() -> tuple[str, ...]:
    """Words of the personas' lines, but for their markers: as a topic or name they must be copied like any other."""
    personas = [*lexicon.PERSONAS.values(), lexicon.CURIOUS]
    said = " ".join(" ".join((*p.describes, *p.trait, *p.keys, *p.bodies, *p.asks)) for p in personas)
    markers = tuple(marker for p in personas for marker in p.markers)
    return tuple(sorted(word for word in set(re.findall(r"[a-z]{4,}", said.lower())) if not word.startswith(markers)))


ENGLISH = _english()


def _triples() -> dict[str, str]:
    """What letter follows which two, in the words of the known topics and prompts."""
    words = re.findall(r"[a-z]{4,}", " ".join([*stock.TOPICS, *stock.NAMES, *FILES.values()]).lower())
    followers: dict[str, str] = {}
    for word in sorted(set(words)):
        padded = f"  {word} "
        for i in range(len(padded) - 2):
            followers[padded[i : i + 2]] = followers.get(padded[i : i + 2], "") + padded[i + 2]
    return followers


TRIPLES = _triples()


@dataclass(slots=True)
class Words:
    """Where names and topics come from: the seen ones, or the ones kept for measuring (`unseen`)."""

    random: Random
    unseen: bool = False

    def pseudo(self) -> str:
        """Letters by chance, syllables, an English word or two halves of them, or a chain of English letter triples."""
        r = self.random
        match r.choices(("letters", "syllables", "english", "halves", "chain"), (6, 28, 20, 12, 34))[0]:
            case "letters":
                word = "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(2, 7)))
            case "syllables":
                parts = (r.choice(ONSETS) + r.choice(VOWELS) + r.choice(CODAS) for _ in range(r.choice((1, 2, 2, 3))))
                word = "".join(parts) + (r.choice(ENDINGS) if r.random() < 0.2 else "")
            case "english":
                word = r.choice(ENGLISH)
            case "halves":
                word = r.choice(ENGLISH)[: r.randint(2, 5)] + r.choice(ENGLISH)[-r.randint(2, 5) :]
            case _:
                word = self.chained()
        return word.capitalize() if r.random() < 0.12 else word

    def chained(self) -> str:
        word = "  "
        while not word.endswith(" ") or len(word) < 6:
            word = "  " if word.endswith(" ") or len(word) > 14 else word
            word += self.random.choice(TRIPLES[word[-2:]])
        return word.strip()

    def topic(self) -> str:
        r = self.random
        if self.unseen:
            return r.choice(stock.UNSEEN_TOPICS)
        known = r.choice(stock.TOPICS)
        match r.choices(("known", "pseudo", "pair", "adjective", "of", "code"), (20, 36, 18, 16, 8, 2))[0]:
            case "pseudo":
                return self.pseudo()
            case "pair":
                return f"{r.choice(('the ', '', '', ''))}{self.pseudo()} {self.pseudo()}"
            case "adjective":
                return f"{self.pseudo()} {known.removeprefix('the ')}"
            case "of":
                return f"the {self.pseudo()} of {known}"
            case "code":
                return f"{self.pseudo().upper()}-{r.randint(1, 2100)}"
        return known

    def name(self) -> str:
        r = self.random
        if self.unseen:
            return r.choice(stock.UNSEEN_NAMES)
        if r.random() < 0.25:
            return r.choice(stock.NAMES)
        first = self.pseudo().capitalize()
        match r.randrange(6):
            case 0:
                return f"{first} {self.pseudo().capitalize()}"
            case 1:
                return first + r.choice(("Bot", "GPT", "X", "Mind", f" {r.randint(1, 99)}"))
            case 2:
                return f"{r.choice(TITLES)} {first}"
            case 3:
                return f"{self.pseudo().capitalize()[:4]}{r.choice(('.', ''))} {first}"
        return first

    def names(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            name = self.name()
            if all(name.lower() not in other.lower() and other.lower() not in name.lower() for other in found):
                found.append(name)
        return found
