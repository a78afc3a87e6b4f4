"""What a study file says for the safety of its animals."""

from collections import Counter
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from server.section import Section

RuleName = Literal["slow", "ignoring", "one_sided", "time", "trials"]
"""The keys of :data:`server.safety.RULES`."""

_Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

_LIMIT_OF: dict[RuleName, str] = {"time": "session_minutes", "trials": "session_trials"}


class SafetySection(Section):
    """Hard caps on reward, the weight gate, when a session should end, alarms.

    The caps have no default, since they depend on the species: a study with animals
    states them. ``trial_s`` is how long a trial and its grant last. A session needs
    a weight of at least ``weight_fraction`` of the baseline, measured within
    ``weighed_within_h``; a fraction of 0 is no gate. ``rules`` are names of stop
    rules (:data:`server.safety.RULES`), which advise an operator or, with ``act =
    "stop"``, end the session; ``time`` and ``trials`` need ``session_minutes`` and
    ``session_trials``. ``no_water_h`` and ``stall_minutes`` are when someone is told.
    """

    trial_microlitre: _Positive
    session_microlitre: _Positive
    day_microlitre: _Positive
    trial_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60.0
    weight_fraction: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.8
    weighed_within_h: _Positive = 24.0
    session_minutes: _Positive | None = None
    session_trials: Annotated[int, Field(ge=1)] | None = None
    rules: list[RuleName] = Field(default=list(get_args(RuleName)))
    act: Literal["advise", "stop"] = "advise"
    no_water_h: _Positive = 22.0
    stall_minutes: _Positive = 10.0

    @model_validator(mode="after")
    def _caps_are_ordered(self) -> "SafetySection":
        caps = (self.trial_microlitre, self.session_microlitre, self.day_microlitre)
        if not caps[0] <= caps[1] <= caps[2]:
            raise ValueError(
                "expected trial_microlitre <= session_microlitre <= day_microlitre, "
                f"got {caps[0]:g}, {caps[1]:g}, {caps[2]:g}"
            )
        return self

    @model_validator(mode="after")
    def _stall_comes_after_a_trial(self) -> "SafetySection":
        if self.stall_minutes * 60 <= self.trial_s:
            raise ValueError(
                f"stall_minutes is {self.stall_minutes:g}, no longer than a trial of "
                f"{self.trial_s:g} s: every long trial would be an alarm"
            )
        return self

    @model_validator(mode="after")
    def _no_rule_is_silently_inactive(self) -> "SafetySection":
        twice = [name for name, count in Counter(self.rules).items() if count > 1]
        if twice:
            raise ValueError(f"rules: {', '.join(twice)} more than once")
        chosen = "rules" in self.model_fields_set
        for rule, limit in _LIMIT_OF.items():
            has_limit = getattr(self, limit) is not None
            if has_limit and rule not in self.rules:
                raise ValueError(
                    f"{limit} has no effect: add {rule!r} to rules, or leave it out"
                )
            if chosen and rule in self.rules and not has_limit:
                raise ValueError(f"the rule {rule!r} has no effect without {limit}")
        return self
