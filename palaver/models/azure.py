"""A deployment of Azure OpenAI: OpenAI's protocol under another address, with a version and a header of its own.

Source: "Azure OpenAI in Azure AI Foundry Models REST API reference", chat completions.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from palaver.models.openai_api import OpenAIModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class AzureModel(OpenAIModel):
    """`AzureModel("gpt-4", resource="https://mine.openai.azure.com", api_version="2024-10-21")`.

    `deployment` is the name it was deployed under, the model's own by default. Further keywords: `OpenAIModel`.
    """

    backend = "azure"

    def __init__(
        self,
        name: str,
        *,
        resource: str,
        api_version: str,
        deployment: str = "",
        key_env: str = "AZURE_API_KEY",
        **settings: Any,
    ) -> None:
        path = f"openai/deployments/{quote(deployment or name, safe='')}"
        super().__init__(name, base_url=f"{resource.rstrip('/')}/{path}", key_env=key_env, **settings)
        self._api_version = api_version
        self._query = f"?api-version={quote(api_version, safe='')}"

    def _credentials(self) -> dict[str, str]:
        return {"api-key": self.key()}

    def _sdk(self) -> "AsyncOpenAI":
        from openai import AsyncAzureOpenAI

        from palaver.models import sdk_wire

        return AsyncAzureOpenAI(
            api_key=self.key(),
            base_url=self._base_url,
            api_version=self._api_version,
            http_client=sdk_wire.client(),
            max_retries=0,
            timeout=self._timeout,
        )
