"""From a frame to the array that models see: text levels become codes, numbers become float32.

The vocabulary is fitted on training rows only, so scoring meets levels that it does not know: they
are encoded as missing and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from toolkit.errors import BundleError, DataError, did_you_mean
from toolkit.modalities import Column, Graph, Images, Modalities, Nodes, Sequences, Texts

Frame = pd.DataFrame | Mapping[str, Any]  # a data frame, or a mapping name → array [rows]

_BLOCK = 8_192  # rows moved into the result at a time, so that a block of it stays in the cache


class Encoded(NamedTuple):
    """X: float32 [rows, columns]; unseen: per categorical column, the rows whose level is unknown."""

    X: np.ndarray
    unseen: dict[str, int]


@dataclass(frozen=True)
class Encoder:
    """The columns in the order models see them, each categorical one with its levels.

    capped: the columns that had more than `max_levels` levels in training rows. Their last level is
    `other`: it stands for the rare levels, whose names are not kept (a rare level may name a
    person), and therefore also for levels never seen.
    events: sequence set → its categorical channels with their levels.
    """

    columns: tuple[Column, ...]
    capped: frozenset[str] = frozenset()
    events: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        frame: Frame,
        columns: Sequence[Column],
        rows: np.ndarray | None = None,
        *,
        max_levels: int = 100,
    ) -> Encoder:
        """Learn the levels of the categorical columns from the training rows.

        columns: names and kinds; their `levels` are ignored.
        rows:    training rows, as a mask [rows] or as positions; None: all.
        Levels are ordered by falling frequency, then by name; those beyond `max_levels` become `other`.
        """
        _require(frame, columns)
        fitted, capped = [], set()
        for column in columns:
            if column.kind == "numeric":
                fitted.append(replace(column, levels=()))
                continue
            values = _values(frame, column.name)
            codes, names = _levels(values if rows is None else values.iloc[rows])
            count = np.bincount(codes[codes >= 0], minlength=len(names))
            order = sorted(range(len(names)), key=lambda one: (-count[one], names[one]))
            kept = [names[one] for one in order if count[one]]
            if len(kept) > max_levels:
                kept = [*kept[: max_levels - 1], _other(kept)]
                capped.add(column.name)
            fitted.append(replace(column, levels=tuple(kept)))
        return cls(tuple(fitted), frozenset(capped))

    def with_events(self, sequences: Sequence[Sequences], *, max_levels: int = 100) -> Encoder:
        """The same encoder, knowing the texts of events: those of the training rows' sequences.

        The rarest beyond `max_levels` are as unknown as those never seen.
        """
        events = {}
        for each in sequences:
            channels = []
            for index, (name, levels) in enumerate(each.categorical):
                codes = each.codes[:, index]
                count = np.bincount(codes[codes >= 0], minlength=len(levels))
                order = sorted(range(len(levels)), key=lambda one: (-count[one], levels[one]))
                kept = tuple(levels[one] for one in order[:max_levels] if count[one])
                channels.append(Column(name, "categorical", kept))
            events[each.name] = tuple(channels)
        return replace(self, events=events)

    def modalities(
        self,
        sequences: Sequence[Sequences] = (),
        graphs: Sequence[Nodes] = (),
        texts: Sequence[Texts] = (),
        images: Sequence[Images] = (),
    ) -> Modalities:
        """Encode what rows have besides the design matrix; what is unknown is missing (codes -1, X NaN).

        Texts and pictures stay as they are: the models that read them encode them.
        """
        return Modalities(
            tuple(self._events(each) for each in sequences),
            tuple(self._graph(nodes) for nodes in graphs),
            tuple(texts),
            tuple(images),
        )

    def _events(self, each: Sequences) -> Sequences:
        codes = np.empty_like(each.codes)
        for index, ((_, levels), column) in enumerate(
            zip(each.categorical, self.events[each.name], strict=True)
        ):
            place = {level: code for code, level in enumerate(column.levels)}
            lookup = np.array([*(place.get(level, -1) for level in levels), -1], np.int32)
            codes[:, index] = lookup[each.codes[:, index]]  # -1, a missing value, takes the last item
        known = tuple((column.name, column.levels) for column in self.events[each.name])
        return replace(each, codes=codes, categorical=known)

    def _graph(self, nodes: Nodes) -> Graph:
        features = tuple(column for column in self.columns if column.name in nodes.columns)
        X = Encoder(features, self.capped).transform(nodes.columns).X
        return Graph(nodes.name, X, features, nodes.row_node, nodes.relations)

    def transform(self, frame: Frame, rows: int | None = None) -> Encoded:
        """Encode rows: float32 [rows, columns], and how many rows hold an unknown level, per column.

        Missing values and unknown levels are NaN; True and False are 1 and 0. Extra columns are
        ignored. Raises DataError if a column is missing, is not numeric, or holds a value that float32
        cannot (infinity included). rows: how many there are, where no column may be there to tell.
        """
        _require(frame, self.columns)
        unseen: dict[str, int] = {}
        ready = []
        for column in self.columns:
            values = _values(frame, column.name)
            if column.kind == "numeric":
                ready.append(_number(column.name, values))
            else:
                codes, unseen[column.name] = self._codes(column, values)
                ready.append(codes)
        if ready or rows is None:
            rows = len(ready[0]) if ready else _rows(frame)
        X = np.empty((rows, len(ready)), np.float32)
        for start in range(0, rows, _BLOCK):
            for index, one in enumerate(ready):
                X[start : start + _BLOCK, index] = one[start : start + _BLOCK]
        return Encoded(X, unseen)

    def row(self, values: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, str]]:
        """Encode one row, feature → value: float32 [1, columns], and each level never seen in training, by column.

        What is absent, None or NaN is missing; a categorical column takes a text, or a number as its text. The
        same numbers as `transform` gives, without what a data frame costs for every column. Raises DataError
        for a value of the wrong type, or one that float32 cannot hold.
        """
        X = np.full((1, len(self.columns)), np.nan, np.float32)
        unseen: dict[str, str] = {}
        with np.errstate(over="ignore"):
            for index, (column, places) in enumerate(self._places):
                value = values.get(column.name)
                if value is None or value != value:
                    continue
                if places is None:
                    X[0, index] = _one_number(column.name, value)
                    continue
                name = _one_level(column.name, value)
                code, known = places.get(name)
                X[0, index] = code
                if not known:
                    unseen[column.name] = name
        if (wrong := np.flatnonzero(np.isinf(X[0]))).size:
            name = self.columns[wrong[0]].name
            raise DataError(
                f"`{name}` is {values[name]!r}, which is infinite or beyond 3.4e38",
                where=name,
                why="models see 32-bit numbers, and no distance to infinity makes sense",
                fix="give a finite number, or null where it is missing",
            )
        return X, unseen

    @cached_property
    def _places(self) -> list[tuple[Column, _Places | None]]:
        return [
            (column, None if column.kind == "numeric" else _Places(column, column.name in self.capped))
            for column in self.columns
        ]

    def _codes(self, column: Column, values: pd.Series) -> tuple[np.ndarray, int]:
        """float32 [rows] codes, NaN where missing or unknown, and the number of unknown ones."""
        codes, names = _levels(values)
        places = _Places(column, column.name in self.capped)
        lookup = np.array([*(places.get(name)[0] for name in names), np.nan], np.float32)
        encoded = lookup[codes]  # -1, a missing value, takes the last item
        return encoded, int(np.count_nonzero(np.isnan(encoded) & (codes >= 0)))

    def to_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "columns": [
                {"name": column.name, "kind": column.kind}
                | ({"scaled": True} if column.scaled else {})
                | ({"levels": list(column.levels)} if column.kind == "categorical" else {})
                for column in self.columns
            ],
            "capped": sorted(self.capped),
            "events": {
                name: [{"name": column.name, "levels": list(column.levels)} for column in columns]
                for name, columns in self.events.items()
            },
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Encoder:
        """Read what `to_dict` gave; BundleError if it is something else."""
        try:
            columns = tuple(
                Column(
                    str(one["name"]),
                    one["kind"],
                    tuple(map(str, one.get("levels", ()))),
                    one.get("scaled", False) is True,
                )
                for one in facts["columns"]
            )
            capped = frozenset(map(str, facts["capped"]))
            events = {
                str(name): tuple(
                    Column(str(one["name"]), "categorical", tuple(map(str, one["levels"])))
                    for one in channels
                )
                for name, channels in facts.get("events", {}).items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError("the encoder's file does not hold an encoder", why=repr(error)) from error
        return cls(columns, capped, events)


class _Places:
    """The code of each level of a categorical column; of a capped one, `other` takes what is not named."""

    def __init__(self, column: Column, capped: bool) -> None:
        named = column.levels[:-1] if capped else column.levels
        self.codes = {name: float(code) for code, name in enumerate(named)}
        self.rest = (float(len(named)), True) if capped else (np.nan, False)

    def get(self, name: str) -> tuple[float, bool]:
        """Its code, and whether it has one: NaN otherwise."""
        code = self.codes.get(name)
        return self.rest if code is None else (code, True)


def _one_number(name: str, value: Any) -> float:
    if not isinstance(value, bool | int | float | np.number | np.bool_):
        raise DataError(
            f"`{name}` is a number, and the row has {shortened(value)}",
            where=name,
            fix="give a number, or null where it is missing",
        )
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 300 digits
        return np.inf


def _one_level(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
        raise DataError(
            f"`{name}` is a text, and the row has {shortened(value)}",
            where=name,
            fix="give a text, or null where it is missing",
        )
    return level_name(value)


def shortened(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _require(frame: Frame, columns: Sequence[Column]) -> None:
    missing = [column.name for column in columns if column.name not in frame]
    if missing:
        some = ", ".join(f"`{name}`" for name in missing[:10]) + (" …" if len(missing) > 10 else "")
        raise DataError(
            f"the input lacks {len(missing)} of {len(columns)} columns: {some}",
            fix=did_you_mean(missing[0], [str(name) for name in frame]),
        )


def _rows(frame: Frame) -> int:
    return len(frame) if isinstance(frame, pd.DataFrame) else len(next(iter(frame.values()), ()))


def _values(frame: Frame, name: str) -> pd.Series:
    values = frame[name]
    return (values if isinstance(values, pd.Series) else pd.Series(values)).reset_index(drop=True)


def _number(name: str, values: pd.Series) -> np.ndarray:
    """float32 [rows] of a numeric or boolean column."""
    if values.dtype == object:
        values = values.infer_objects()  # None beside True and False, or beside numbers
    if values.dtype == object and pd.api.types.is_bool_dtype(values.dropna().infer_objects()):
        values = values.astype("boolean")
    numeric = pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values)
    if (not numeric and values.notna().any()) or pd.api.types.is_complex_dtype(values):
        raise DataError(
            f"column `{name}` is declared numeric but holds {values.dtype}, for example "
            f"{values[values.first_valid_index()]!r}",
            where=f"column {name}",
            fix="declare it categorical, or turn it into a number where the table is declared",
        )
    if not numeric:
        return np.full(len(values), np.nan, np.float32)
    with np.errstate(over="ignore"):
        out = values.to_numpy(dtype=np.float32, na_value=np.nan)
    if infinite := int(np.isinf(out).sum()):
        raise DataError(
            f"column `{name}` has {infinite:,} values that are infinite or beyond 3.4e38",
            where=f"column {name}, first at row {int(np.argmax(np.isinf(out)))}",
            why="models see 32-bit numbers, and no distance to infinity makes sense",
            fix="guard the division that made them, or clip the feature",
        )
    return out


def _levels(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes [rows] (-1: missing) into the distinct texts of a column, in order of appearance."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, distinct = values.cat.codes.to_numpy(), values.cat.categories
    else:
        codes, distinct = pd.factorize(values)
    names = [level_name(value) for value in distinct]
    if len(set(names)) == len(names):
        return codes, names
    # 1 and 1.0, or 1 and "1", in one column of objects: the same level.
    merged, unique = pd.factorize(np.array(names, dtype=object))
    return np.append(merged, -1)[codes], [str(name) for name in unique]


def level_name(value: Any) -> str:
    """A level's name. 2.0 is `2`: whole numbers become floats as soon as one is missing."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _other(levels: Sequence[str]) -> str:
    """The name of the level for all the rest; not one that the column already has."""
    name = "other"
    while name in levels:
        name = f"({name})"
    return name
