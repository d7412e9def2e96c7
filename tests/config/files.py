"""What the tests of the config share: the document's example, and files on the spot."""

from collections.abc import Mapping
from pathlib import Path

from palaver.config import ConfigManager

QUICK_START = """\
models:
  gpt-4o-mini:
    name: gpt-4o-mini
    type: openai
    temperature: 0.7

default_model: gpt-4o-mini

evaluators:
  - type: rule_based
    enabled: true
    config:
      max_turn_number: 20
  - type: llm
    enabled: true
    model: gpt-4o-mini

api:
  host: 0.0.0.0
  port: 8000
"""

WORKFLOW = """\
# keys come from the environment
models:
  mine:
    name: mine
    type: workflow
    custom_config:
      endpoint: "https://${HOST:-api.example.com}/generate"
      headers:
        Authorization: "Bearer ${YOUR_API_KEY}"
        X-Custom-Header: "value"
"""


def manager(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> ConfigManager:
    """A manager of a file with that text."""
    path = folder / "palaver.yaml"
    path.write_text(text, encoding="utf-8")
    return ConfigManager(path, environ=environ or {})
