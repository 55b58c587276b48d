"""Ensembles: models made of other models of the recipe. `model=[lightgbm,logistic,blend]`

blend: a weighted mean of what its members say.
stack: a linear model learns, from training rows that members were not fitted on, what to make of what they
       say (Wolpert 1992, stacked generalization).
fused: trees learn the same, and see the row itself besides (`toolkit.models.fused`).

An ensemble has no `fit` of its own: its members are fitted as they would be without it, and
`toolkit.training.ensembles` puts them together. Once put together it is a fitted model like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from toolkit.bundle.files import read_json, write_json
from toolkit.config.names import WrongNameError
from toolkit.errors import BundleError
from toolkit.modalities import NOTHING, Modalities
from toolkit.models import store
from toolkit.models.combine import MetaLearner, Mixture
from toolkit.models.formula import Formula
from toolkit.models.interface import Fitted, ModelConfig, Task, shares

Weight = Annotated[float, Field(ge=0, le=1e9)]


@dataclass(frozen=True)
class Member:
    """A model of the recipe, as an ensemble keeps it."""

    name: str
    config: Any
    fitted: Fitted


@dataclass(frozen=True)
class Combined:
    """A fitted ensemble. combiners, notes: one for each task; weighed: by weights fitted on validation rows.

    remarks: what whoever ran it should read on the screen.
    """

    tasks: tuple[Task, ...]
    members: tuple[Member, ...]
    combiners: tuple[Mixture | MetaLearner, ...]
    notes: list[list[str]]
    weighed: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def iterations(self) -> list[int | None]:
        """Rounds or trees of all members."""
        each = zip(*(member.fitted.iterations for member in self.members), strict=True)
        return [sum(one or 0 for one in rounds) or None for rounds in each]

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[np.ndarray]:
        return self.combine([member.fitted.predict(X, modalities) for member in self.members])

    def combine(self, said: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        """said: for each member what its `predict` gives."""
        return [
            combiner.combine([one[index] for one in said]) for index, combiner in enumerate(self.combiners)
        ]

    def importance(self) -> list[np.ndarray | None]:
        """The members' importances by how much each counts; None where no member has one."""
        found: list[np.ndarray | None] = []
        each = zip(*(member.fitted.importance() for member in self.members), strict=True)
        for combiner, importances in zip(self.combiners, each, strict=True):
            pairs = zip(combiner.shares, importances, strict=True)
            told = [share * one for share, one in pairs if one is not None]
            found.append(shares(np.sum(told, axis=0)) if told else None)
        return found

    def save(self, folder: Path) -> None:
        facts = [
            {"name": task.name, "type": task.type, "classes": list(task.classes)}
            | {"combiner": combiner.to_dict(), "notes": notes}
            for task, combiner, notes in zip(self.tasks, self.combiners, self.notes, strict=True)
        ]
        names = [member.name for member in self.members]
        write_json(folder / "ensemble.json", {"members": names, "weighed": self.weighed, "tasks": facts})
        save_members(folder, self.members)


def save_members(folder: Path, members: Sequence[Member]) -> None:
    """An ensemble's members into its folder."""
    for number, member in enumerate(members):  # by number: a model's name need not be a file's name
        store.save(folder / "members" / str(number), member.config, member.fitted)


def read_members(folder: Path, names: Sequence[str]) -> tuple[Member, ...]:
    """What `save_members` wrote."""
    places = [folder / "members" / str(number) for number in range(len(names))]
    return tuple(
        Member(name, store.config_of(place), store.load(place))
        for name, place in zip(names, places, strict=True)
    )


def not_of_this_version(path: Path, error: Exception) -> BundleError:
    """What is raised where an ensemble's own file cannot be understood."""
    return BundleError(
        f"`{path.name}` does not describe an ensemble of this version",
        where=str(path),
        why=f"{type(error).__name__}: {error}",
        fix="install the toolkit version that wrote the bundle, or fit the model again",
    )


class Ensemble(ModelConfig):
    """Base of models that are made of others. needs: members without which it is none."""

    needs: ClassVar[int] = 2
    of: tuple[str, ...] = Field(
        (),
        description="The recipe's models it is made of; empty: all that are neither ensembles nor formulas.",
    )
    on_failure: Literal["stop", "leave_out"] = Field(
        "stop",
        description="A member cannot be fitted: stop and say so, or go on without it and say so.",
    )

    @model_validator(mode="after")
    def its_members_are_tuned(self) -> Self:
        if self.search:
            raise ValueError("an ensemble has no `search`: declare it for the models that it is made of")
        return self

    def members(self, declared: Mapping[str, Any]) -> list[str]:
        """Names of the models it is made of, among those of the recipe."""
        return list(self.of) or [
            name for name, model in declared.items() if not isinstance(model, Ensemble | Formula)
        ]


class Combining(Ensemble):
    """Base of those that see nothing but what their members say."""

    combiner: ClassVar[type[Mixture] | type[MetaLearner]]

    def load(self, folder: Path) -> Combined:
        path = folder / "ensemble.json"
        facts = read_json(path)
        try:
            names = [str(name) for name in facts["members"]]
            tasks = tuple(Task(one["name"], one["type"], tuple(one["classes"])) for one in facts["tasks"])
            combiners = tuple(self.combiner.from_dict(one["combiner"]) for one in facts["tasks"])
            notes = [list(map(str, one["notes"])) for one in facts["tasks"]]
            weighed = bool(facts["weighed"])
        except (KeyError, TypeError, ValueError) as error:
            raise not_of_this_version(path, error) from error
        return Combined(tasks, read_members(folder, names), combiners, notes, weighed)


class Blend(Combining):
    """A weighted mean of what other models of the recipe say, the weights fitted on validation rows.

    Probabilities of classes are put on one scale first, also on validation rows: what a focal loss or
    `class_weight: balanced` distorts must not weigh little for that. Declared and equal weights count them as
    they are.
    """

    kind: Literal["blend"] = "blend"
    combiner: ClassVar = Mixture
    weights: Literal["validation", "equal"] | dict[str, Weight] = Field(
        "validation",
        description="validation: those with the least loss on validation rows, for each target; equal; or "
        "a number for each member, such as {lightgbm: 2, logistic: 1}: their ratio counts.",
    )

    @model_validator(mode="after")
    def some_weight_is_above_zero(self) -> Self:
        if isinstance(self.weights, dict) and not sum(self.weights.values()) > 0:
            raise ValueError("`weights` needs a number above 0 for some member")
        return self

    def members(self, declared: Mapping[str, Any]) -> list[str]:
        by_weight = list(self.weights) if isinstance(self.weights, dict) else []
        return list(self.of) or by_weight or super().members(declared)


class Stack(Combining):
    """A linear model of what other models of the recipe say of training rows that they were not fitted on."""

    kind: Literal["stack"] = "stack"
    combiner: ClassVar = MetaLearner
    folds: int = Field(
        5, ge=2, le=50,
        description="Fits of each member on a part of the training rows; of a temporal split, at most so many.",
    )  # fmt: skip
    C: float = Field(
        1.0,
        gt=0,
        le=1e8,
        description="Inverse strength of the L2 penalty of the model on top of the members.",
    )


def wrong_members(declared: Mapping[str, Any]) -> Iterator[WrongNameError]:
    """What is wrong with the ensembles among the recipe's models (name → configuration)."""
    single = [name for name, model in declared.items() if not isinstance(model, Ensemble)]
    for name, model in declared.items():
        if not isinstance(model, Ensemble):
            continue
        weights = getattr(model, "weights", None)
        by_weight = weights if isinstance(weights, dict) else {}
        told = [(("model", name, "of", at), member) for at, member in enumerate(model.of)]
        told += [(("model", name, "weights", member), member) for member in by_weight]
        wrong = [found for path, member in told if (found := _wrong(path, member, name, single, declared))]
        yield from wrong
        members = model.members(declared)
        twice = next((member for member in members if members.count(member) > 1), None)
        if wrong:
            continue
        if twice:
            yield WrongNameError(
                ("model", name, "of"), twice, f"`{twice}` stands there twice", "name each member once"
            )
        elif by_weight and set(members) != set(by_weight):
            other = next(iter(set(members) ^ set(by_weight)))
            yield WrongNameError(
                ("model", name, "weights"), other, f"`of` and `weights` disagree about `{other}`",
                "give each member a weight, or leave `of` out",
            )  # fmt: skip
        elif len(members) < model.needs:
            has = f"one, `{members[0]}`" if members else "none"
            least = "two members" if model.needs == 2 else "one member"
            yield WrongNameError(
                ("model", name, "of"), "", f"an ensemble needs at least {least}, and here it has {has}",
                f"declare more models beside it, for example model=[lightgbm,logistic,{name}]",
            )  # fmt: skip


def _wrong(
    path: tuple[str | int, ...], member: str, name: str, single: Sequence[str], declared: Mapping[str, Any]
) -> WrongNameError | None:
    """What is wrong with one member of the ensemble `name`; single: the models that may be members."""
    if member in single:
        return None
    if member in declared:
        what = (
            "an ensemble cannot be made of itself" if member == name else f"`{member}` is an ensemble itself"
        )
        fix = f"ensembles are made of single models; here: {', '.join(single) or 'none is declared'}"
        return WrongNameError(path, member, what, fix)
    what = f"no model of this recipe is called `{member}`"
    if not single:
        return WrongNameError(path, member, what, f"declare it beside the ensemble: model=[{member},{name}]")
    return WrongNameError.among(path, member, what, single)
