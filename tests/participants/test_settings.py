"""Settings change by what the room tells, and by nothing else."""

from palaver.participants.settings import Settings


def test_defaults_are_those_of_the_model_client() -> None:
    """2.12"""
    settings = Settings()
    assert (settings.temperature, settings.max_tokens, settings.history, settings.delay) == (0.7, 100, 5, 0.0)


def test_what_the_room_tells_is_taken_over_and_the_rest_left_alone() -> None:
    before = Settings(persona="old", seed=3)
    after = before.changed({"temperature": 0, "max_tokens": 20, "persona": "new", "mood": "bad", "delay": None})
    assert after == Settings(persona="new", temperature=0.0, max_tokens=20, seed=3)
    assert before.persona == "old"


def test_what_the_log_is_told_comes_back_and_nonsense_does_not() -> None:
    settings = Settings(persona="You are Ada.", temperature=0.2, history=0, labels=False, seed=7)
    assert Settings.from_told(settings.told()) == settings
    assert set(Settings().told()) == {"temperature", "max_tokens", "history", "delay"}
    assert Settings.from_told({"persona": ["x"], "temperature": "hot", "seed": "7", "model": "tiny"}) == Settings()
