"""Schemathesis, as it comes, against a server that runs: every check over every operation of the OpenAPI document."""

import asyncio
import dataclasses
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from palaver.api.plan import Plan
from palaver.models.model import Model
from palaver.scenes import EpisodeLog, Patience, run_scene
from tests.api.talks import serving

WAITING = "Waiting"
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]  # some 450 requests: seconds, unless the machine is busy

CONFIG = """
[parameters]
"path.ident" = "{over}"
"path.name" = "tiny"

[[operations]]
include-name = ["DELETE /conversations/{{ident}}", "POST /conversations/{{ident}}/commands"]
parameters = {{ "path.ident" = "{running}" }}
"""
EXCLUDED = "positive_data_acceptance,use_after_free"
"""Not every rule can be said in the document: names hold no quotes, `speaking_order` names each agent once. And
what was deleted is cancelled, not gone."""


async def test_every_answer_is_what_the_document_says(tmp_path: Path) -> None:
    """No 500, no undocumented status, every body as its schema has it, no way around the token."""
    if importlib.util.find_spec("schemathesis") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs schemathesis: pip install 'palaver[test]'")
    headers = {"Authorization": "Bearer open-sesame"}
    async with serving(runner=_hasty, token="open-sesame", headers=headers) as server:
        over = await server.begin(max_turns=2)
        running = await server.begin(agent_configs=[{"name": WAITING, "type": "human"}])
        await server.over(over)
        (tmp_path / "schemathesis.toml").write_text(CONFIG.format(over=over, running=running), encoding="utf-8")
        report, code = await _schemathesis(tmp_path, f"{server.url}/openapi.json", headers["Authorization"])
        assert code == 0, report
        assert "Tested: 12" in report, report
        assert (await server.client.get("/health")).status_code == 200


async def _hasty(plan: Plan, models: Mapping[str, Model], *, url: str, **options: Any) -> EpisodeLog:
    """Conversations that are soon over, whatever is asked for: an answer may wait for the end."""
    waits = any(agent.name == WAITING for agent in plan.scene.agents)
    patience = Patience() if waits else Patience(people=0.1)
    scene = dataclasses.replace(plan.scene, max_turns=min(plan.scene.max_turns, 2))
    return await run_scene(scene, models, url=url, room=plan.id, patience=patience, **options)


async def _schemathesis(folder: Path, url: str, token: str) -> tuple[str, int | None]:
    flags = ("--max-examples", "3", "--seed", "4", "--exclude-checks", EXCLUDED, "--request-timeout", "3", "--no-color")
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml"),
        *("run", url, "--header", f"Authorization: {token}", *flags),
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await process.communicate()
    return report.decode(errors="replace"), process.returncode
