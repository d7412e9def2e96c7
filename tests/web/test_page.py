"""The live page in a real browser, against a real hub."""

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from palaver.core.protocol import Join
from palaver.hub.auth import SharedSecret
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from tests.hubs import RunningHub, joined, running

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytestmark = pytest.mark.system

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
EVIL = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x1b[0m \u202etxt.exe"


def _missing() -> str:
    lacks = [] if Path(CHROMIUM).exists() else ["apt-get install chromium"]
    if importlib.util.find_spec("playwright") is None:
        lacks.append("pip install playwright")
    return " and ".join(lacks)


@pytest.fixture
async def browser() -> "AsyncIterator[Browser]":
    """Debian's chromium."""
    if missing := _missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs a browser: {missing}")
    from playwright.async_api import async_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        await chromium.close()


@asynccontextmanager
async def tab(
    browser: "Browser", hub: RunningHub, name: str, role: str = "observer", *, room: str = "main", **options: Any
) -> "AsyncIterator[Page]":
    """A tab of somebody's own that has joined; what the page complains of fails the test."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if "Security Policy" in said.text else None)
    page.set_default_timeout(10_000)
    await _join(page, hub, name, role, room=room)
    await page.wait_for_selector("#room:not([hidden])")
    try:
        yield page
        assert troubles == []
    finally:
        await context.close()


async def _join(page: "Page", hub: RunningHub, name: str, role: str, token: str = "", *, room: str = "main") -> None:
    await page.goto(f"http://127.0.0.1:{hub.port}/")
    await page.fill("[name=name]", name)
    await page.fill("[name=room]", room)
    await page.check(f"[name=role][value={role}]")
    await page.fill("[name=token]", token)
    await page.press("[name=token]", "Enter")


async def words(page: "Page") -> list[str]:
    """What the transcript shows as said, oldest first."""
    return await page.locator("#transcript .message:not(.streaming):not([hidden]) .words").all_text_contents()


async def shows(page: "Page", *expected: str) -> None:
    """Wait until the transcript ends in these words, then hold it to them."""
    last = page.locator("#transcript .message:not(.streaming):not([hidden]) .words").last
    await last.filter(has_text=expected[-1]).wait_for()
    assert await words(page) == list(expected)


async def gone(page: "Page", selector: str) -> None:
    await page.locator(selector).wait_for(state="detached")


async def test_one_tab_moderates_and_another_watches(browser: "Browser") -> None:
    async with (
        running() as hub,
        joined(hub.url, "Zen Sage", "model") as sage,
        tab(browser, hub, "Max", "moderator") as moderating,
        tab(browser, hub, "Wanda") as watching,
    ):
        assert await watching.locator("#prompt").is_hidden()
        assert await watching.locator("#pause").is_hidden()
        colours = [
            await here.locator("#members .name", has_text="Zen").get_attribute("style")
            for here in (moderating, watching)
        ]
        assert colours[0] == colours[1]
        await moderating.fill("#line", "Who is there?")
        await moderating.press("#line", "Enter")
        grant = await sage.until("grant")
        await watching.locator("#floor", has_text="Zen Sage has the floor").wait_for()
        for piece in ("Only ", "the "):
            await sage.send({"type": "delta", "turn": grant["turn"], "text": piece})
        await watching.locator(".streaming .words", has_text="Only the").wait_for()
        await sage.say("Only the moon.", turn=grant["turn"])
        for page in (moderating, watching):
            await shows(page, "Who is there?", "Only the moon.")
            await gone(page, ".streaming")
        sage_here = watching.locator("#members li", has_text="Zen Sage")
        assert re.search(r"\d+ ms|\d+\.\d s", await sage_here.inner_text())


async def test_what_others_write_stays_text(browser: "Browser") -> None:
    async with (
        running() as hub,
        joined(hub.url, "<b>Ann</b>") as ann,
        tab(browser, hub, "Max", "moderator") as page,
    ):
        await ann.command(f"/topic {EVIL}")
        await ann.say(EVIL)
        await ann.say(ESCAPES)
        await shows(page, EVIL, "\\x1b]0;owned\\x07\\x1b[31mred\\x1b[0m \ufffdtxt.exe")
        await page.locator("#figures svg", has_text="<b>Ann</b>").first.wait_for()
        assert await page.locator("#topic").text_content() == EVIL
        assert await page.locator("#members .name").first.text_content() == "<b>Ann</b>"
        assert await page.locator("img, script:not([src]), #room b:not(.name)").count() == 0
        assert "owned" not in await page.title()


async def test_pause_on_the_page_silences_a_running_model(browser: "Browser") -> None:
    """The model that obeys stops; the one that does not is not heard."""
    model = ScriptedModel(["So it goes, on and on"], hang=True)
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Stubborn", "model") as stubborn,
        _sitting(hub.url, model, "Zen Sage"),
        tab(browser, hub, "Max", "moderator") as page,
    ):
        await ann.say("Speak!")
        grant = await stubborn.until("grant")
        await page.locator(".streaming .words", has_text="So it goes").wait_for()
        await page.click("#pause")
        await page.locator("#floor.paused").wait_for()
        await page.locator(".notice", has_text="Zen Sage stopped after").wait_for()
        assert await page.locator(".streaming").count() == 0
        await stubborn.send({"type": "delta", "turn": grant["turn"], "text": "I will not"})
        assert (await stubborn.say("I will not be quiet", turn=grant["turn"]))["type"] == "nack"
        await ann.say("Silence.")
        await shows(page, "Speak!", "Silence.")
        assert await page.locator(".streaming").count() == 0
        await page.locator("#pause", has_text="Resume").click()
        await stubborn.until("grant")


@asynccontextmanager
async def _sitting(url: str, model: ScriptedModel, name: str) -> AsyncIterator[None]:
    async with Link(url, Join(name=name, role="model"), wait=lambda attempt: 0.0) as link:
        task = asyncio.create_task(Participant(link, Settings(), model).run())
        try:
            yield
        finally:
            await link.close()
            await task


async def test_a_moderator_steers_by_buttons_and_by_commands(browser: "Browser") -> None:
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Zen Sage", "model") as sage,
        tab(browser, hub, "Max", "moderator") as page,
    ):
        await page.get_by_role("button", name="Mute Zen Sage", exact=True).click()
        await ann.until("floor", muted=["Zen Sage"])
        await page.get_by_role("button", name="Unmute Zen Sage").click()
        await ann.until("floor", muted=[])
        await page.select_option("#policy", "chair")
        await ann.until("floor", policy="chair")
        await page.get_by_role("button", name="Floor Zen Sage").click()
        await sage.until("grant")
        await page.fill("#line", "/topic The moon")
        await page.press("#line", "Enter")
        await page.locator("#topic", has_text="The moon").wait_for()
        await page.fill("#line", "/nonsense")
        await page.press("#line", "Enter")
        await page.locator(".notice.error", has_text="unknown").wait_for()
        await page.fill("#line", "//pause is a word")
        await page.press("#line", "Enter")
        await shows(page, "/pause is a word")
        await page.get_by_role("button", name="Kick Zen Sage").click()
        await page.get_by_role("button", name="Cancel").click()
        assert await page.locator("#members li", has_text="Zen Sage").count() == 1
        await page.get_by_role("button", name="Kick Zen Sage").click()
        await page.locator("#ask-yes").click()
        await gone(page, "#members li:has-text('Zen Sage')")


async def test_a_hub_that_restarts_leaves_neither_a_gap_nor_a_double(browser: "Browser", tmp_path: Path) -> None:
    """Messages of before, of while the page was away, and of after: each once and in order."""
    async with contextlib.AsyncExitStack() as tabs:
        async with running(tmp_path) as hub:
            page = await tabs.enter_async_context(tab(browser, hub, "Max", "moderator"))
            await _say(hub, "one", "two")
            await shows(page, "one", "two")
        await page.locator("#link.down").wait_for()
        async with running(tmp_path) as elsewhere:  # another port: the page cannot come back yet
            await _say(elsewhere, "three", "four")
        await page.fill("#line", "five")
        await page.press("#line", "Enter")
        async with running(tmp_path, port=hub.port) as again:
            await shows(page, "one", "two", "three", "four", "five")
            await _say(again, "six")
            await shows(page, "one", "two", "three", "four", "five", "six")
            numbers = await page.locator("#transcript .message .seq").all_text_contents()
            assert numbers == ["#1", "#2", "#3", "#4", "#5", "#6"]
            await gone(page, "#members li:has-text('Ann')")
            assert await page.locator("#members li").count() == 1
            await page.reload()  # no goodbye: the seat of this tab is taken over
            await _join(page, again, "Max", "moderator")
            await shows(page, "one", "two", "three", "four", "five", "six")


async def _say(hub: RunningHub, *texts: str) -> None:
    async with joined(hub.url, "Ann") as ann:
        for text in texts:
            await ann.say(text)


async def test_a_redacted_message_loses_its_words(browser: "Browser") -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, tab(browser, hub, "Wanda") as page:
        await ann.say("my number is 555")
        await shows(page, "my number is 555")
        await ann.command("/redact 1 private")
        await shows(page, "(redacted: private)")


async def test_the_slider_goes_back_through_what_was_said(browser: "Browser") -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, tab(browser, hub, "Wanda") as page:
        for text in ("one", "two", "three"):
            await ann.say(text)
        await shows(page, "one", "two", "three")
        await page.focus("#slider")
        await page.keyboard.press("Home")
        await shows(page, "one")
        await page.keyboard.press("ArrowRight")
        await shows(page, "one", "two")
        await ann.say("four")
        await page.locator("#position", has_text="2 / 4").wait_for()
        await shows(page, "one", "two")
        await page.keyboard.press("Escape")
        await shows(page, "one", "two", "three", "four")
        await page.click("#play")
        await page.locator("#position", has_text="1 / 4").wait_for()
        await page.locator("#live").wait_for(state="hidden")
        await shows(page, "one", "two", "three", "four")


async def test_the_figures_are_drawn_from_what_was_said(browser: "Browser") -> None:
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Bob") as bob,
        tab(browser, hub, "Wanda") as page,
    ):
        await ann.say("three words here")
        await ann.command("/sys Not one of these is somebody's.")
        await ann.say("Redacted words are nobody's either.")
        await ann.command("/redact 3")
        await bob.say("one")
        await page.get_by_role("img", name="Share of words: Ann 75 %, Bob 25 %").wait_for()
        await page.get_by_role("img", name="Who follows whom: Bob after Ann 1 times").wait_for()


async def test_the_page_works_on_a_phone(browser: "Browser") -> None:
    phone: dict[str, Any] = {
        "viewport": {"width": 360, "height": 700},
        "has_touch": True,
        "color_scheme": "dark",
    }
    async with running() as hub, joined(hub.url, "Ann") as ann, tab(browser, hub, "Max", "moderator", **phone) as page:
        await ann.say("w" * 500)
        await shows(page, "w" * 500)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not await page.evaluate("document.activeElement.matches('input')"), "no keyboard covers the talk"
        await page.tap("#hush")
        await page.locator("#floor", has_text="Paused by Max").wait_for()
        await page.tap("#panes [data-pane=people]")
        await page.tap("#pause")
        await page.locator("#pause", has_text="Pause").wait_for()
        assert await page.locator("#transcript").is_hidden()
        await page.tap("#panes [data-pane=figures]")
        await page.locator("#share svg").wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_long_name_of_a_room_leaves_the_pause_on_a_phones_screen(browser: "Browser") -> None:
    """As rooms of the conversation server are called."""
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 700}, "has_touch": True}
    async with running() as hub, tab(browser, hub, "Max", "moderator", room="conv-" + "0" * 59, **phone) as page:
        await page.fill("#line", "/topic " + "long " * 50)
        await page.press("#line", "Enter")
        await page.locator("#topic", has_text="long long").wait_for(state="attached")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.evaluate("document.getElementById('hush').getBoundingClientRect().right <= innerWidth")


async def test_a_wrong_token_is_told_and_a_token_is_not_remembered(browser: "Browser") -> None:
    async with running(auth=SharedSecret("open sesame")) as hub:
        context = await browser.new_context()
        page = await context.new_page()
        await _join(page, hub, "Max", "moderator", "wrong one")
        await page.locator("#refused", has_text="token is wrong").wait_for()
        await page.fill("[name=token]", "open sesame")
        await page.press("[name=token]", "Enter")
        await page.wait_for_selector("#room:not([hidden])")
        await page.reload()
        assert await page.input_value("[name=name]") == "Max"
        assert await page.is_checked("[name=role][value=moderator]")
        assert await page.input_value("[name=token]") == ""
        kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, location.href])")
        assert "sesame" not in kept
        await context.close()


async def test_nothing_is_asked_of_anybody_but_the_hub(browser: "Browser") -> None:
    async with running() as hub, joined(hub.url, "Ann", room="debate"):
        context = await browser.new_context()
        page = await context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        await _join(page, hub, "Wanda", "observer")
        await page.wait_for_selector("#room:not([hidden])")
        await page.click("#leave")
        await page.locator("#rooms button", has_text="debate").click()
        assert await page.input_value("[name=room]") == "debate"
        assert {urlsplit(url).netloc for url in asked} == {f"127.0.0.1:{hub.port}"}
        assert any(url.startswith("ws:") for url in asked)
        await context.close()


async def test_a_long_past_is_cut_and_the_newest_is_in_sight(browser: "Browser") -> None:
    """About a thousand messages of the past are shown, none of them missing."""
    async with running() as hub, joined(hub.url, "Ann") as ann:
        for number in range(1, 2502):
            await ann.send(
                {"type": "message", "id": f"line{number}", "content": f"line {number} " + "la " * (number % 90)}
            )
        await ann.until("ack", seq=2501)
        async with tab(browser, hub, "Wanda") as page:
            newest = page.locator("#transcript .message", has_text="line 2501 ")
            await newest.wait_for()
            numbers = [int(text[1:]) for text in await page.locator("#transcript .message .seq").all_text_contents()]
            assert numbers == list(range(1502, 2502))
            await _in_sight(newest)
            await ann.say("and the last")
            await _in_sight(page.locator("#transcript .message", has_text="and the last"))
            await page.locator("#transcript").evaluate("(it) => it.scrollTo(0, 0)")
            await ann.say("unseen")
            await page.locator("#newest").click()
            await _in_sight(page.locator("#transcript .message", has_text="unseen"))


async def _in_sight(locator: "Locator") -> None:
    from playwright.async_api import expect

    await expect(locator).to_be_in_viewport(ratio=1, timeout=5000)


async def test_a_log_that_was_replaced_is_read_from_its_beginning(browser: "Browser", tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as tabs:
        async with running(tmp_path / "old") as hub:
            page = await tabs.enter_async_context(tab(browser, hub, "Wanda"))
            await _say(hub, "old one", "old two", "old three")
            await shows(page, "old one", "old two", "old three")
        async with running(tmp_path / "new") as elsewhere:
            await _say(elsewhere, "new one", "new two")
        async with running(tmp_path / "new", port=hub.port):
            await shows(page, "new one", "new two")


async def test_a_held_message_waits_for_the_moderator(browser: "Browser") -> None:
    async with (
        running() as hub,
        joined(hub.url, "Sage", "model") as sage,
        tab(browser, hub, "Max", "moderator") as page,
    ):
        for line in ("/approve on", "Well?"):
            await page.fill("#line", line)
            await page.press("#line", "Enter")
        grant = await sage.until("grant")
        await sage.say("May I?", turn=grant["turn"])
        await page.locator("#held", has_text="1 held").wait_for()
        await shows(page, "Well?")
        await page.click("#let")
        await shows(page, "Well?", "May I?")
        await page.locator("#held").wait_for(state="hidden")


async def test_the_prompt_offers_commands_and_names(browser: "Browser") -> None:
    async with running() as hub, joined(hub.url, "Zen Sage", "model"), tab(browser, hub, "Max", "moderator") as page:
        await page.locator('#verbs option[value="/pause "]').wait_for(state="attached")
        await page.focus("#transcript")
        await page.keyboard.type("/mute ")
        assert await page.input_value("#line") == "/mute "
        await page.locator("""#verbs option[value='/mute "Zen Sage" ']""").wait_for(state="attached")


async def test_a_page_that_was_removed_stays_out_and_cannot_steer(browser: "Browser") -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, tab(browser, hub, "Max", "moderator") as page:
        await ann.command("/kick Max enough")
        await page.locator(".notice.error", has_text="You are out").wait_for()
        assert await page.locator("#prompt").is_hidden()
        assert await page.locator("#pause").is_hidden()
        await ann.say("Gone?")
        await page.click("#leave")
        await page.locator("#lobby").wait_for()
        await page.locator("#rooms button", has_text="1 here").wait_for()


async def test_the_page_says_that_models_wait_for_a_person_and_that_all_is_over(browser: "Browser") -> None:
    async with (
        running() as hub,
        joined(hub.url, "Sage", "model") as sage,
        joined(hub.url, "Bob", "model"),
        joined(hub.url, "Ann") as ann,
        tab(browser, hub, "Wanda", "moderator") as page,
    ):
        await ann.command("/policy open max_in_a_row=1")
        await ann.say("hello")
        await sage.say("one", turn=(await sage.until("grant"))["turn"])
        await page.locator("#floor", has_text="Models wait for a person to speak").wait_for()
        await ann.command("/end")
        await page.locator("#floor", has_text="The conversation has ended").wait_for()
        for button in ("#pause", "#step", "#policy"):
            await page.locator(f"{button}:disabled").wait_for()
        await sage.send({"type": "leave", "reason": "done"})
        await page.locator("#members li", has_text="Sage").wait_for(state="detached")
        await page.get_by_role("img", name=re.compile("Median time to answer: Sage ")).wait_for()
