"""The two chat loops of seed 1 for a terminal: a simple one, and one with commands.

They take what they need: how to read a line, how to write one, and a client. They are blocking on purpose: `input()`
stays in the main thread, where line editing and Ctrl-C work, while the client runs in its own loop.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from palaver.models.conversation import Conversation, Message, Prompt
from palaver.models.response import APIResponse

SIMPLE_SYSTEM = "You are a helpful assistant."
ENHANCED_SYSTEM = "You are a helpful assistant. Keep your responses concise and helpful."

Read = Callable[[str], str]
"""Shows a prompt and gives the line that was typed, without its end; raises EOFError where there are no more."""
Write = Callable[[str], object]

_RULE = "=" * 40
_EXCERPT = 100
_COMMANDS = (
    "Commands:",
    "  'quit' or 'exit' - End the conversation",
    "  'history' - Show conversation history",
    "  'clear' - Clear conversation history",
)


class Client(Protocol):
    """What a chat loop talks to; `LLMClient` is one."""

    def process_prompts_sync(self, prompts: Sequence[Prompt], *, show_progress: bool = True) -> Sequence[APIResponse]:
        """Answer prompts and wait for them."""
        ...


def simple_chat(client: Client, *, system: str = SIMPLE_SYSTEM, read: Read = input, write: Write = print) -> None:
    """Talk until `quit`, `exit`, `bye`, the end of input or Ctrl-C; a failed turn leaves no trace in the history."""
    conversation = Conversation.system(system)
    write("Chat started! Type 'quit' to exit.")
    write("Assistant: Hello! How can I help you today?")
    while True:
        try:
            typed = read("\nYou: ").strip()
            if typed.lower() in ("quit", "exit", "bye"):
                break
            if typed:
                write(f"Assistant: {_turn(client, conversation, typed)}")
        except (EOFError, KeyboardInterrupt):
            break
        except _TurnFailed as failure:
            write(failure.told(f"Error: {failure}\nPlease try again.", "Assistant: Sorry, I didn't get a response."))
    write("Assistant: Goodbye!")


def enhanced_chat(
    make_client: Callable[[], Client], *, system: str = ENHANCED_SYSTEM, read: Read = input, write: Write = print
) -> bool:
    """Talk with commands for the history; gives False where the client could not be made.

    Ends on `quit`, `exit`, the end of input or Ctrl-C. A failed turn is taken back.
    """
    try:
        client = make_client()
    except Exception as error:
        write(f"Failed to initialize client: {error}")
        return False
    conversation = Conversation.system(system)
    for line in ("🤖 Enhanced Chat Assistant", _RULE, *_COMMANDS, _RULE):
        write(line)
    write("Assistant: Hello! I'm ready to help. What would you like to know?")
    while True:
        try:
            typed = read("\n💬 You: ").strip()
            match typed.lower():
                case "":
                    continue
                case "quit" | "exit":
                    write("🤖 Assistant: Thanks for chatting! Goodbye!")
                    return True
                case "history":
                    write(history(conversation))
                case "clear":
                    conversation = Conversation.system(system)
                    write("🗑️  Conversation history cleared!")
                case _:
                    write("🤖 Assistant: Thinking...")
                    write(f"🤖 Assistant: {_turn(client, conversation, typed)}")
        except (EOFError, KeyboardInterrupt):
            write("\n\n🤖 Assistant: Goodbye!")
            return True
        except _TurnFailed as failure:
            nothing = "🤖 Assistant: I'm sorry, I couldn't process that request."
            write(failure.told(f"{nothing}\n❌ Error: {failure}\nPlease try again.", nothing))


def history(conversation: Conversation) -> str:
    """The conversation, a numbered line for each message, each cut at 100 characters."""
    lines = ["\n📝 Conversation History:"]
    for number, message in enumerate(conversation.messages, 1):
        text = message.completion or "[No text]"
        cut = f"{text[:_EXCERPT]}{'...' if len(text) > _EXCERPT else ''}"
        lines.append(f"  {number}. {message.role.title()}: {cut}")
    return "\n".join(lines)


class _TurnFailed(Exception):
    """A turn without an answer; its text is the reason, empty where the model merely said nothing."""

    def told(self, with_reason: str, without: str) -> str:
        """What to show."""
        return with_reason if str(self) else without


def _turn(client: Client, conversation: Conversation, typed: str) -> str:
    """Say `typed` and give the answer, both in the history; raises `_TurnFailed` and leaves the history as it was."""
    before = len(conversation.messages)
    try:
        conversation.add(Message.user(typed))
        response = client.process_prompts_sync([conversation], show_progress=False)[0]
        if response.completion is None or not response.completion.strip():
            raise _TurnFailed(response.error_message or "")
        conversation.add_response(response)
        return response.completion.strip()
    except (Exception, KeyboardInterrupt) as error:
        del conversation.messages[before:]
        if isinstance(error, _TurnFailed | KeyboardInterrupt):
            raise
        raise _TurnFailed(str(error) or type(error).__name__) from error
