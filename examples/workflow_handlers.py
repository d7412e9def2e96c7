"""Several endpoints asked at once, the surest one speaks: named as `ensemble` in workflow.yaml."""

import asyncio
from typing import Any

from palaver.models.workflow import ModelResponse, RequestHandler, ResponseParser, WorkflowProvider


class Ensemble(RequestHandler):
    """Sends the prompt to each of `models`, a list of names and URLs."""

    required = ("models",)

    async def process(self, prompt: str, **kwargs: Any) -> Any:
        """Their answers, in the order of the config."""
        asked = (self.post(model["url"], {"prompt": prompt, **kwargs}) for model in self.config["models"])
        return list(zip(self.config["models"], await asyncio.gather(*asked), strict=True))


class Surest(ResponseParser):
    """Takes the answer with the highest `confidence`, 0.5 where an endpoint does not tell."""

    def parse(self, raw_response: Any) -> ModelResponse:
        """The text of the surest answer."""
        model, best = max(raw_response, key=lambda pair: pair[1].get("confidence", 0.5))
        return ModelResponse(best["text"], metadata={"selected_model": model["name"], "of": len(raw_response)})


WorkflowProvider.register_request_handler("ensemble", Ensemble)
WorkflowProvider.register_response_parser("ensemble", Surest)
