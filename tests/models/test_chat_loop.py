"""Both chat loops of seed 1, typed to by a list of lines."""

from collections.abc import Callable, Sequence

import pytest

from palaver import LLMClient, Message
from palaver.core.errors import ModelError
from palaver.models.chat_loop import ENHANCED_SYSTEM, Client, enhanced_chat, history, simple_chat
from palaver.models.conversation import Conversation
from palaver.models.scripted import Line, ScriptedModel
from tests.stubs import OpenAIStub


class Terminal:
    """Lines to be typed and lines that were shown; an exception among the former is raised."""

    def __init__(self, typed: Sequence[str | BaseException]) -> None:
        self._typed = list(typed)
        self.prompts: list[str] = []
        self.shown: list[str] = []

    def read(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if not self._typed:
            raise EOFError
        line = self._typed.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line

    def write(self, text: str) -> None:
        self.shown += text.split("\n")


def scripted(lines: Sequence[Line] | Callable[..., Line] = ("fine",)) -> tuple[ScriptedModel, LLMClient]:
    model = ScriptedModel(lines)
    return model, LLMClient(model)


@pytest.mark.parametrize("word", ["QUIT", "exit", " Bye "])
def test_the_simple_loop_greets_skips_empty_lines_and_ends(word: str) -> None:
    """A1.11"""
    model, client = scripted()
    terminal = Terminal(["", "   ", "Hello", word])
    simple_chat(client, read=terminal.read, write=terminal.write)
    assert terminal.shown == [
        "Chat started! Type 'quit' to exit.",
        "Assistant: Hello! How can I help you today?",
        "Assistant: fine",
        "Assistant: Goodbye!",
    ]
    assert terminal.prompts == ["\nYou: "] * 4
    assert len(model.prompts) == 1


def test_the_simple_loop_leaves_no_orphan_after_a_failure() -> None:
    """A1.11"""
    model, client = scripted([ModelError("no memory"), "/pass", "fine"])
    terminal = Terminal(["first", "second", "third", "quit"])
    simple_chat(client, read=terminal.read, write=terminal.write)
    assert "Error: no memory" in terminal.shown
    assert "Please try again." in terminal.shown
    assert "Assistant: Sorry, I didn't get a response." in terminal.shown
    assert [message["content"] for message in model.prompts[-1]] == ["You are a helpful assistant.", "third"]


@pytest.mark.parametrize("end", [EOFError(), KeyboardInterrupt()])
def test_the_simple_loop_says_goodbye_at_the_end_of_input_and_on_ctrl_c(end: BaseException) -> None:
    terminal = Terminal([end])
    simple_chat(scripted()[1], read=terminal.read, write=terminal.write)
    assert terminal.shown[-1] == "Assistant: Goodbye!"


def test_the_enhanced_loop_shows_its_banner_and_thinks() -> None:
    """A1.12"""
    terminal = Terminal(["Hello", "quit"])
    assert enhanced_chat(lambda: scripted([" fine \n"])[1], read=terminal.read, write=terminal.write)
    assert terminal.shown == [
        "🤖 Enhanced Chat Assistant",
        "=" * 40,
        "Commands:",
        "  'quit' or 'exit' - End the conversation",
        "  'history' - Show conversation history",
        "  'clear' - Clear conversation history",
        "=" * 40,
        "Assistant: Hello! I'm ready to help. What would you like to know?",
        "🤖 Assistant: Thinking...",
        "🤖 Assistant: fine",
        "🤖 Assistant: Thanks for chatting! Goodbye!",
    ]


def test_history_is_numbered_cut_and_says_where_there_is_no_text() -> None:
    """A1.12"""
    conversation = Conversation.system("s" * 100).user("u" * 101).add(Message("assistant", None))
    assert history(conversation).split("\n")[1:] == [
        "📝 Conversation History:",
        f"  1. System: {'s' * 100}",
        f"  2. User: {'u' * 100}...",
        "  3. Assistant: [No text]",
    ]


def test_history_and_clear_are_commands() -> None:
    """A1.12"""
    model, client = scripted(["one", "two"])
    terminal = Terminal(["Hello", "HISTORY", "clear", "history", "again", "exit"])
    enhanced_chat(lambda: client, read=terminal.read, write=terminal.write)
    first = terminal.shown.index("📝 Conversation History:")
    assert terminal.shown[first + 1 : first + 4] == [
        f"  1. System: {ENHANCED_SYSTEM}",
        "  2. User: Hello",
        "  3. Assistant: one",
    ]
    cleared = terminal.shown.index("🗑️  Conversation history cleared!")
    assert terminal.shown[cleared + 3] == f"  1. System: {ENHANCED_SYSTEM}"
    assert not terminal.shown[cleared + 4].startswith("  2.")
    assert [message["content"] for message in model.prompts[-1]] == [ENHANCED_SYSTEM, "again"]


def test_a_failed_turn_is_taken_back_and_its_reason_shown() -> None:
    """A1.12"""
    with OpenAIStub(api_key="right") as stub:
        client = LLMClient("m", base_url=stub.base_url, api_key="wrong")
        terminal = Terminal(["Hello", "history", "quit"])
        enhanced_chat(lambda: client, read=terminal.read, write=terminal.write)
    assert "🤖 Assistant: I'm sorry, I couldn't process that request." in terminal.shown
    assert any("Incorrect API key" in line for line in terminal.shown)
    assert not any("User: Hello" in line for line in terminal.shown)


class Interrupted:
    """A client during whose answer Ctrl-C is pressed."""

    def process_prompts_sync(self, prompts: object, *, show_progress: bool = True) -> list[object]:
        raise KeyboardInterrupt


@pytest.mark.parametrize("while_thinking", [False, True])
def test_ctrl_c_says_goodbye(while_thinking: bool) -> None:
    """A1.12"""
    terminal = Terminal(["Hello"] if while_thinking else [KeyboardInterrupt()])
    client: Client = Interrupted()  # type: ignore[assignment]  # it answers nothing at all
    assert enhanced_chat(lambda: client, read=terminal.read, write=terminal.write)
    assert terminal.shown[-1] == "🤖 Assistant: Goodbye!"


def test_a_client_that_cannot_be_made_ends_the_loop_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A1.12"""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    terminal = Terminal([])
    assert not enhanced_chat(lambda: LLMClient("gpt-4o-mini"), read=terminal.read, write=terminal.write)
    assert len(terminal.shown) == 1
    assert terminal.shown[0].startswith("Failed to initialize client: ")
    assert "OPENAI_API_KEY" in terminal.shown[0]
