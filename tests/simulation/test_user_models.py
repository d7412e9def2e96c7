"""Users behind an OpenAI-compatible endpoint, against a real server."""

import pytest

from palaver.core.errors import ModelError
from palaver.models.retry import RetryPolicy
from palaver.simulation import ChatSimulator, OpenAIUserModel, RolloutError
from palaver.simulation.user_models import GO_ON, OPENING
from tests.simulation.talks import ANSWER, QUESTION, SYSTEM, numbered, shape
from tests.stubs import OpenAIStub


def test_model_key_temperature_and_limit_are_on_the_wire(
    openai_stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A0.4, row 0.6."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    user = OpenAIUserModel("gpt-4o-mini", "You are curious.", base_url=openai_stub.base_url)
    assert user.generate([SYSTEM, QUESTION, ANSWER]) == "Hello from the stub."
    sent = openai_stub.posts[0]
    assert openai_stub.requests[0].headers["authorization"] == "Bearer sk-of-the-environment"
    asked = {key: sent[key] for key in ("model", "temperature", "max_tokens")}
    assert asked == {"model": "gpt-4o-mini", "temperature": 0.7, "max_tokens": 1024}
    assert [message["role"] for message in sent["messages"]] == ["system", "assistant", "user"]
    assert sent["messages"][0]["content"] == "You are curious."


def test_the_endpoint_may_come_from_the_environment(openai_stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A0.4."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_stub.base_url)
    assert OpenAIUserModel(system_prompt="x").generate([QUESTION]) == "Hello from the stub."
    assert openai_stub.posts[0]["model"] == "gpt-4o-mini"


def test_without_a_key_the_error_names_the_variable() -> None:
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        OpenAIUserModel("gpt-4o-mini").generate([QUESTION])


def test_a_user_without_anybodys_words_before_it_is_asked_to_begin(openai_stub: OpenAIStub) -> None:
    """Row 0.14: endpoints refuse a system message alone."""
    OpenAIUserModel("m", base_url=openai_stub.base_url).generate([SYSTEM])
    assert openai_stub.posts[0]["messages"][1:] == [{"role": "user", "content": OPENING}]


def test_providers_that_want_a_user_first_get_one(openai_stub: OpenAIStub) -> None:
    """Row 0.14."""
    user = OpenAIUserModel("anthropic/claude-haiku-4-5", "x", api_key="k")
    assert user.model == "anthropic/claude-haiku-4-5" and user.speaker.name == "claude-haiku-4-5"
    prompt = user._prepare_messages_for_user_perspective([QUESTION, ANSWER])
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user"]
    assert prompt[1]["content"] == GO_ON


def test_content_none_is_an_empty_turn_and_no_crash() -> None:
    """A0.11, row 0.6."""
    with OpenAIStub([{"content": None}]) as stub:
        user = OpenAIUserModel("m", base_url=stub.base_url)
        with pytest.raises(RolloutError, match="said nothing, twice") as caught:
            ChatSimulator(numbered("answer"), user).rollout([QUESTION], 3)
    assert shape(caught.value.rollout) == "UA" and len(stub.posts) == 2


def test_passing_failures_are_tried_again() -> None:
    with OpenAIStub(["At last."]) as stub:
        stub.fail(503)
        stub.fail(429)
        user = OpenAIUserModel("m", base_url=stub.base_url, retry=RetryPolicy(first_wait=0.001))
        assert user.generate([QUESTION]) == "At last."


def test_an_endpoint_that_stays_silent_is_given_up_in_time() -> None:
    with OpenAIStub(hang=True) as stub:
        user = OpenAIUserModel("m", base_url=stub.base_url, timeout=0.05, retry=RetryPolicy(attempts=1))
        with pytest.raises(RolloutError, match="user_error"):
            ChatSimulator(numbered("answer"), user).rollout([QUESTION], 3)
