"""The space of settings that tuning tries, declared beside a model's settings in YAML.

search:
  num_leaves: {int: [7, 255], log: true}
  learning_rate: {float: [0.01, 0.3], log: true}
  class_weight: {categorical: [none, balanced]}
  bagging_freq: {int: [1, 7]}
  bagging_fraction: {float: [0.4, 1.0], when: {bagging_freq: [1, 2, 3, 4, 5, 6, 7]}}
  optimizer.lr: {float: [0.0003, 0.01], log: true}  # a setting of a part, where a model has parts
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from toolkit.config.names import WrongNameError
from toolkit.config.node import Node

Value = bool | int | float | str | None


class Search(Node):
    """One setting: `int` or `float` between two ends, or `categorical`."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    whole: tuple[int, int] | None = Field(
        None, alias="int", description="least and greatest, both in the space"
    )
    real: tuple[float, float] | None = Field(None, alias="float", description="least and greatest")
    categorical: list[Value] | None = Field(None, min_length=1, description="the values to choose from")
    log: bool = Field(False, description="equal ratios are equally likely, not equal differences")
    step: float | None = Field(None, gt=0, description="only multiples of it above the least value")
    when: dict[str, Value | list[Value]] = Field(
        {},
        description="tried only where other settings have one of these values; otherwise as the model says",
    )

    @model_validator(mode="after")
    def one_kind_with_ends_in_order(self) -> Search:
        given = [self.whole is not None, self.real is not None, self.categorical is not None]
        if sum(given) != 1:
            raise ValueError("say one of `int: [low, high]`, `float: [low, high]`, `categorical: [...]`")
        if self.categorical is not None:
            if self.log or self.step:
                raise ValueError("`log` and `step` go with `int` and `float`")
            return self
        low, high = self.ends()
        if not low < high:
            raise ValueError(f"the ends {low:g} and {high:g} are not in order")
        if self.log and low <= 0:
            raise ValueError(f"`log` needs ends above 0, not {low:g}")
        if self.log and self.step:
            raise ValueError("`log` and `step` do not go together")
        if self.whole is not None and self.step and self.step != int(self.step):
            raise ValueError("the step of an `int` is a whole number")
        return self

    def ends(self) -> tuple[float, float]:
        """Least and greatest value of a number."""
        found = self.whole if self.whole is not None else self.real
        assert found is not None
        return found

    def examples(self) -> list[Value]:
        """The ends, or all values of a category: what the model must accept."""
        return list(self.categorical) if self.categorical is not None else [*self.ends()]

    def values(self) -> list[Value]:
        """All there are. Raises ValueError for a range without a step."""
        if self.categorical is not None:
            return list(self.categorical)
        low, high = self.ends()
        if self.step is None:
            kind = "int" if self.whole is not None else "float"
            raise ValueError(f"{kind}: [{low:g}, {high:g}] is a range, and a grid needs values")
        count = int((high - low) / self.step * (1 + 1e-9) + 1e-9) + 1
        if self.whole is not None:
            return [int(low) + one * int(self.step) for one in range(count)]
        return [min(round(low + one * self.step, 12), high) for one in range(count)]


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their names, those of parts with a dot: {"optimizer": {"lr": 0.1}} → {"optimizer.lr": 0.1}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        else:
            found[name] = value
    return found


def placed(settings: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """The settings with others in the places that their names say; what was given stays as it is."""
    found = dict(settings)
    for name, value in values.items():
        part, _, inner = name.partition(".")
        found[part] = placed(found[part], {inner: value}) if inner else value
    return found


def ordered(space: Mapping[str, Search]) -> list[str]:
    """Names such that a condition's own setting comes first. Raises ValueError for a circle."""
    found: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"`when` goes round in a circle: {' → '.join([*path, name])}")
        if name in found or name not in space:
            return
        for other in space[name].when:
            visit(other, (*path, name))
        found.append(name)

    for name in space:
        visit(name, ())
    return found


def applies(one: Search, now: Mapping[str, Value]) -> bool:
    """Whether a setting is tried where the others are what they are now."""
    return all(
        now.get(key) in (wanted if isinstance(wanted, list) else [wanted]) for key, wanted in one.when.items()
    )


def grid(space: Mapping[str, Search], settings: Mapping[str, Any]) -> list[dict[str, Value]]:
    """Every combination once, without settings whose conditions do not hold. settings: as in `suggest`."""
    found: list[dict[str, Value]] = [{}]
    as_declared = flat(settings)
    for name in ordered(space):
        one, longer = space[name], []
        for point in found:
            tried = one.values() if applies(one, as_declared | point) else []
            longer += [point | {name: value} for value in tried] or [point]
        found = longer
    return found


def endless(space: Mapping[str, Search]) -> dict[str, str]:
    """The settings that a grid has no values for, and why."""
    found = {}
    for name, one in space.items():
        try:
            one.values()
        except ValueError as error:
            found[name] = str(error)
    return found


def wrong_grids(tuning: Any, declared: Mapping[str, Any]) -> Iterator[WrongNameError]:
    """What keeps a grid from being tried whole; declared: name → configuration of a model.

    A space with ranges is wrong for a model that `tuning.models` names; others are fitted as they are.
    """
    for name, model in declared.items():
        space = getattr(model, "search", {})
        if not space or (tuning.models is not None and name not in tuning.models):
            continue
        ranges = endless(space)
        for key, why in ranges.items() if tuning.models else ():
            fix = "give it a `step`, or values: {categorical: [...]}; or another `tuning.sampler`"
            yield WrongNameError(("model", name, "search", key), key, why, fix)
        if ranges or tuning.trials is None:
            continue
        if (size := len(grid(space, model.model_dump()))) > tuning.trials:
            what = (
                f"the grid of `{name}` has {size:,} combinations, and {tuning.trials:,} trials leave some out"
            )
            yield WrongNameError(("tuning", "trials"), name, what, "`trials: null`, or a smaller grid")


def suggest(trial: Any, space: Mapping[str, Search], settings: Mapping[str, Any]) -> dict[str, Value]:
    """The settings of one trial. settings: those of the model, for conditions on what is not searched."""
    found: dict[str, Value] = {}
    as_declared = flat(settings)
    for name in ordered(space):
        one = space[name]
        if not applies(one, as_declared | found):
            continue
        if one.categorical is not None:
            found[name] = trial.suggest_categorical(name, one.categorical)
        elif one.whole is not None:
            found[name] = trial.suggest_int(name, *one.whole, log=one.log, step=int(one.step or 1))
        else:
            found[name] = trial.suggest_float(name, *one.ends(), log=one.log, step=one.step)
    return found
