"""The conversation server over TLS: API, events, page and hub with one certificate, and nothing without it."""

import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palaver.core.message import Message
from palaver.core.protocol import Join, Welcome
from palaver.participants.link import Link
from tests.api.test_cli import written
from tests.processes import program
from tests.security.certificates import certificate

pytestmark = pytest.mark.system


async def test_api_events_page_and_hub_speak_tls_with_the_configs_certificate(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    tls = ssl.create_default_context(cafile=pair.certificate)
    env = {"PALAVER_HUB_TLS_CERT": str(pair.certificate), "PALAVER_HUB_TLS_KEY": str(pair.key)}
    body = {"agent_configs": [{"name": "Ann"}, {"name": "Bob"}], "max_turns": 2, "background": False}
    async with program("-m", "palaver.api", "-c", written(tmp_path), env=env) as running:
        hub = (await running.until(r"Palaver hub: (wss://\S+)"))[1]
        api = (await running.until(r"Palaver API: (https://\S+)"))[1]
        async with httpx2.AsyncClient(verify=tls, trust_env=False, timeout=30) as client:
            assert (await client.get(f"{api}/health")).json()["hub"] == hub
            for page in (f"{api}/docs", f"{hub.replace('wss', 'https', 1)}/"):
                answer = await client.get(page)
                assert (answer.status_code, "text/html" in answer.headers["content-type"]) == (200, True)
            begun = (await client.post(f"{api}/conversations", json=body)).json()
            assert (begun["status"], begun["turn_count"]) == ("completed", 2)
            events = (await client.get(f"{api}/conversations/{begun['room']}/events")).text
        assert events.count("event: message\n") == 3 and events.count("event: status\n") == 1
        assert await heard(hub, begun["room"], tls) == ["Hello.", "And then?"]
        await refused(api)


async def heard(url: str, room: str, tls: ssl.SSLContext) -> list[str]:
    """What agents said in a room, as somebody hears it who comes later."""
    said: list[str] = []
    async with Link(url, Join(name="Zoe", role="observer", room=room, after=0), tls=tls) as link:
        welcome = await anext(link)
        assert isinstance(welcome, Welcome)
        async for frame in link:
            if isinstance(frame, Message):
                said += [frame.content] if frame.role == "model" else []
                if frame.seq == welcome.seq:
                    break
    return said


async def refused(url: str) -> None:
    """Neither without TLS nor with another's trust."""
    plain: dict[str, Any] = {"trust_env": False, "timeout": 30}
    async with httpx2.AsyncClient(**plain) as client:
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"{url}/health")
        with pytest.raises(httpx2.TransportError):
            await client.get(f"{url.replace('https', 'http', 1)}/health")
