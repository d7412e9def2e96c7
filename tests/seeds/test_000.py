"""Every Python block of the document behind `palaver.simulation`, on a tiny model and a real endpoint."""

import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator
from tests.models.tiny_llama import make_model, make_tokenizer
from tests.seeds import blocks, run
from tests.stubs import OpenAIStub

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's own
PREFIX = ["system", "user"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the document's model and adapter lie under the names that it uses; it is the current one."""
    peft = pytest.importorskip("peft")
    base = tmp_path / "meta-llama" / "Llama-3.2-1B-Instruct"
    model = make_model()
    model.generation_config = GenerationConfig(eos_token_id=list(range(0, 512, 16)))  # so that replies are short
    model.save_pretrained(base)
    make_tokenizer().save_pretrained(base)
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "my-lora-adapter")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("palaver.simulation.talk.secrets.randbits", lambda bits: 11)
    return tmp_path


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, openai_stub: OpenAIStub) -> OpenAIStub:
    """What `gpt-4o-mini` leads to in these tests."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_stub.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    return openai_stub


@pytest.fixture
def usage(place: Path, endpoint: OpenAIStub) -> Any:
    """What the first block defines; in full precision, since four bits need a card."""
    names = run(blocks("000")[0].replace("use_4bit=True", "use_4bit=False"))
    yield names
    names["assistant"].close()


def roles(messages: Any) -> list[str]:
    return [message["role"] for message in messages]


def test_there_are_three_blocks() -> None:
    assert len(blocks("000")) == 3


def test_the_usage_runs(usage: dict[str, Any], endpoint: OpenAIStub) -> None:
    """Rows 0.4 to 0.11."""
    conversation = usage["conversation"]
    assert roles(conversation) == PREFIX + ["assistant"] + ["user", "assistant"] * 3
    assert conversation[1]["content"] == "What is gradient descent?"
    assert conversation[3]["content"] == "Hello from the stub."
    sent = endpoint.posts[0]
    assert sent["model"] == "gpt-4o-mini"
    assert sent["messages"][0]["content"] == "You are a curious user asking about machine learning."


def test_the_interactive_session_runs(
    usage: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A0.8, row 0.12."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nmine\n\n/quit\n"))
    conversation = run(blocks("000")[1], usage)["conversation"]
    assert roles(conversation) == [*PREFIX, "assistant", "user", "assistant"]
    assert conversation[3]["content"] == "mine"
    assert "user: Hello!" in capsys.readouterr().out


def test_a_provider_of_ones_own_runs() -> None:
    """Rows 0.13 and 0.15."""
    defined = run(blocks("000")[2], {"response_content": "From another provider."})
    user = defined["AnthropicUserModel"]()
    assert user.model == "claude-3-haiku-20240307"
    rollout = ChatSimulator(ScriptedModel(["Yes?"]), user).rollout(max_turns=1)
    assert [message["content"] for message in rollout] == ["From another provider.", "Yes?"]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_the_usage_as_written_names_the_extra_for_four_bits(place: Path, endpoint: OpenAIStub) -> None:
    """A0.3."""
    with pytest.raises(ImportError, match=r"palaver\[quant\]"):
        run(blocks("000")[0])
