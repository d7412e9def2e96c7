"""Several models to choose from, each in a lane: its limits, whether it is blocked, and whose turn it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palaver.core.errors import ModelError
from palaver.models import providers
from palaver.models.limits import RateLimit
from palaver.models.model import Model
from palaver.models.openai_api import OpenAIModel
from palaver.models.retry import ONCE


class Lane:
    """One model and the traffic on it. The model behind an `hf/…` name is loaded at its first use."""

    def __init__(self, name: str, model: Model | None, at: providers.Route | None, limit: RateLimit) -> None:
        self.name = name
        self.limit = limit
        self.blocked_until = float("-inf")
        """A refused key or name: no use asking before then."""
        self.why_blocked = ""
        self._model = model
        self._at = at

    @property
    def where(self) -> str:
        """What tells its replies from another lane's of the same name, for the cache."""
        return "" if self._at is None else f"{self._at.provider} {self._at.base_url}"

    @property
    def price_name(self) -> str:
        """The model's name as price lists have it."""
        return self.name if self._at is None else self._at.model

    async def model(self, extra: Mapping[str, Any]) -> Model:
        """The model, with `extra` in its requests; raises `ModelError` where it takes none or cannot be loaded."""
        if self._model is None:
            assert self._at is not None
            weights = await providers.local_weights(self._at.model)
            from palaver.models.hf import HFModel

            self._model = HFModel(weights)
        if not extra:
            return self._model
        with_extra = getattr(self._model, "with_extra", None)
        if with_extra is None:
            raise ModelError(f"{self.name} takes no {', '.join(extra)}: it is not behind an API")
        model: Model = with_extra(extra)
        return model


def open_lane(
    model: str | Model, *, base_url: str | None, api_key: str | None, limit: RateLimit, **settings: Any
) -> Lane:
    """The lane of a model or a model's name; raises `ModelError` for a name that leads nowhere or lacks its key.

    Raises TypeError for what is neither.
    """
    if not isinstance(model, str):
        if not callable(getattr(model, "complete", None)):
            raise TypeError(f"{type(model).__name__} is no model: give a model's name, or an object with `complete`")
        return Lane(model.name, model, None, limit)
    at = providers.route(model, base_url=base_url)
    if at.provider == "hf":
        return Lane(model, None, at, limit)
    remote = providers.api_model(at, api_key=api_key, retry=ONCE, **settings)
    if isinstance(remote, OpenAIModel):
        remote.key()
    return Lane(model, remote, at, limit)


@dataclass(slots=True)
class Lanes:
    """The choice among lanes: the preferred one, else by weight, else the first; never a blocked one."""

    lanes: Sequence[Lane]
    weights: Sequence[float] | None
    clock: Callable[[], float]
    chance: Callable[[], float]

    def choose(self, *, preferred: str | None, spent: Sequence[Lane] = ()) -> Lane | None:
        """A lane that is open and not `spent` in this request; among them one that nobody asked to be quiet."""
        now = self.clock()
        open_lanes = [lane for lane in self.lanes if lane.blocked_until <= now and lane not in spent]
        calm = [lane for lane in open_lanes if not lane.limit.quiet_for(now)] or open_lanes
        if not calm:
            return None
        for lane in calm:
            if preferred is not None and lane.name == preferred:
                return lane
        return calm[0] if self.weights is None else self._by_weight(calm)

    def block(self, lane: Lane, seconds: float, why: str) -> None:
        """Leave a lane out for a while."""
        lane.blocked_until = self.clock() + seconds
        lane.why_blocked = why

    def why_none(self) -> str:
        """What to tell when every lane is blocked."""
        blocked = (f"{lane.name}: {lane.why_blocked}" for lane in self.lanes)
        return f"every model is blocked for now: {'; '.join(blocked)}"

    def _by_weight(self, lanes: Sequence[Lane]) -> Lane:
        assert self.weights is not None
        weight = {id(lane): share for lane, share in zip(self.lanes, self.weights, strict=True)}
        point = self.chance() * sum(weight[id(lane)] for lane in lanes)
        for lane in lanes:
            point -= weight[id(lane)]
            if point < 0:
                return lane
        return lanes[-1]
