"""How a workflow asks and how its answer is read: request handlers, response parsers, and the ones that come along.

A handler gets a prompt and gives back raw data, with as many requests as it likes; a parser makes the reply of it.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from palaver.core.errors import ConfigError
from palaver.models.provider import ModelResponse, first_said
from palaver.models.refusals import posted, unreadable

TEXT_KEYS: Final = ("output", "text", "response", "content", "processed")
"""Where the default parser looks for the text, in this order."""


class RequestHandler(ABC):
    """Asks an endpoint, in its own words. `config` is the model's `custom_config`."""

    required: Sequence[str] = ()
    """Keys of `custom_config` without which it cannot work: a config that lacks one is refused."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        missing = [key for key in self.required if not self.config.get(key)]
        if missing:
            raise ConfigError(f"custom_config.{missing[0]} is missing; {type(self).__name__} needs it")
        if not isinstance(self.config.get("headers") or {}, Mapping):
            raise ConfigError("custom_config.headers must be `name: value` lines")
        for key, value in self.config.items():
            if key.endswith("endpoint") and not str(value).startswith(("http://", "https://")):
                raise ConfigError(f"custom_config.{key} is no address of the form http://host:port/path")

    @abstractmethod
    async def process(self, prompt: str, **kwargs: Any) -> Any:
        """The endpoint's raw answer to `prompt`; `kwargs` are `temperature`, `max_tokens`, `seed` and the caller's."""

    async def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """POST `body` as JSON, without what is None in it and with the configured headers; gives the JSON answered.

        Raises for an error status, a broken connection and an answer that is no JSON.
        """
        headers = {name.lower(): str(value) for name, value in (self.config.get("headers") or {}).items()}
        said = {key: value for key, value in body.items() if value is not None}
        where = _without_secrets(url)
        seconds = float(self.config.get("timeout", 30.0))
        async with posted(url, said, headers, where=where, seconds=seconds) as answer:
            content = await answer.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise unreadable(content, where, "JSON") from error

    # For handlers of two steps

    async def _call_base_model(self, prompt: str, **kwargs: Any) -> Any:
        """The answer of `custom_config.endpoint` to the prompt."""
        return await self.post(self._address("endpoint"), {**kwargs, "prompt": prompt})

    async def _post_process(self, text: str) -> Any:
        """What `custom_config.post_process_endpoint` makes of a text."""
        return await self.post(self._address("post_process_endpoint"), {"text": text})

    def _address(self, key: str) -> str:
        if not self.config.get(key):
            raise ConfigError(f"custom_config.{key} is missing; {type(self).__name__} needs it")
        return str(self.config[key])


class ResponseParser(ABC):
    """Makes a reply of what a handler brought. `config` is the model's `custom_config`."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = dict(config or {})

    @abstractmethod
    def parse(self, raw_response: Any) -> ModelResponse:
        """The reply; raises where there is none in it."""


class DefaultRequestHandler(RequestHandler):
    """POST `{"prompt": …, **kwargs}` to `endpoint`."""

    required = ("endpoint",)

    async def process(self, prompt: str, **kwargs: Any) -> Any:
        """As the endpoint answers."""
        return await self._call_base_model(prompt, **kwargs)


class DefaultResponseParser(ResponseParser):
    """The text under the first of `TEXT_KEYS`, or the answer itself where it is a text; the rest is metadata."""

    def parse(self, raw_response: Any) -> ModelResponse:
        """Raises ValueError where no text is found."""
        if isinstance(raw_response, str):
            return ModelResponse(raw_response, metadata={"provider": "workflow"})
        document = raw_response if isinstance(raw_response, Mapping) else {}
        key = next((key for key in TEXT_KEYS if isinstance(document.get(key), str)), None)
        if key is None:
            found = ", ".join(map(str, document)) or type(raw_response).__name__
            raise ValueError(f"no text under {', '.join(TEXT_KEYS)} in the answer, which has: {found}")
        usage = document.get("usage")
        rest = {name: value for name, value in document.items() if name not in (key, "usage", "finish_reason")}
        return ModelResponse(
            document[key],
            usage if isinstance(usage, Mapping) else None,
            finish_reason=document.get("finish_reason"),
            metadata={"provider": "workflow", **rest},
        )


class SftRewardRequestHandler(RequestHandler):
    """Candidates from `sft_endpoint`, their scores from `reward_endpoint` (best-of-n sampling).

    `num_return_sequences` in `custom_config` is how many candidates there are, 10 by default.
    """

    required = ("sft_endpoint", "reward_endpoint")

    async def process(self, prompt: str, **kwargs: Any) -> Any:
        """`{"generations": […], "scores": […], "usage": …}`; raises ValueError where an endpoint brings none."""
        body = {
            "prompt": prompt,
            "num_return_sequences": int(self.config.get("num_return_sequences", 10)),
            "temperature": kwargs.get("temperature"),
            "max_length": first_said(kwargs.get("max_length"), kwargs.get("max_tokens")),
            "seed": kwargs.get("seed"),
        }
        answer = await self.post(self.config["sft_endpoint"], body)
        generations = _list_of(answer, "generations", "sft_endpoint")
        if not generations or not all(isinstance(each, str) for each in generations):
            raise ValueError(f"sft_endpoint brought no candidates but {generations!r:.200}")
        judged = await self.post(self.config["reward_endpoint"], {"prompt": prompt, "responses": generations})
        scores = _list_of(judged, "scores", "reward_endpoint")
        return {"generations": generations, "scores": scores, "usage": answer.get("usage")}


class SftRewardResponseParser(ResponseParser):
    """The candidate with the highest score, the first of several; all of them and their scores in the metadata."""

    def parse(self, raw_response: Any) -> ModelResponse:
        """Raises ValueError where the scores do not fit the candidates."""
        candidates, scores = raw_response["generations"], raw_response["scores"]
        numbers = [score for score in scores if isinstance(score, int | float) and math.isfinite(score)]
        if len(numbers) != len(scores) or len(scores) != len(candidates):
            raise ValueError(f"{len(candidates)} candidates got the scores {scores!r:.200}: one number each is needed")
        best = max(range(len(scores)), key=scores.__getitem__)
        counted = raw_response.get("usage") or {}
        return ModelResponse(
            candidates[best],
            {**counted, "candidates_generated": len(candidates), "total_tokens": counted.get("total_tokens", 0)},
            metadata={
                "provider": "workflow_sft_reward",
                "best_score": scores[best],
                "all_scores": list(scores),
                "all_candidates": list(candidates),
                "selection_index": best,
            },
        )


def _without_secrets(url: str) -> str:
    """An address as an error may show it to everybody: without user, password and query, which may hold keys."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _list_of(answer: Any, key: str, endpoint: str) -> list[Any]:
    found = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise ValueError(f"{endpoint} answered without a list of {key}: {answer!r:.200}")
    return found
