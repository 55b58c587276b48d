"""The compiled SQL against a brute-force oracle, on random worlds with nasty data.

Every value must be equal, floats to 1e-9. The worlds hold events exactly at cutoffs and window edges,
simultaneous rows, rows known late or in advance, dates and timestamps, three time zones, leap days and
ends of months (see `worlds`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle import Oracle, disagreements, same
from worlds import EVENTS, RELATIONS, SPANS, Made, World, declare, make, to_wall, world

WORLDS = {
    "utc": (1, "UTC", ["2023-03-01", "2024-02-29", "2024-03-01", "2024-03-31", "2024-12-31", "2025-01-01"]),
    "berlin": (2, "Europe/Berlin", ["2024-01-01", "2024-03-31", "2024-04-01", "2024-10-27", "2024-11-01T06:30", "2025-03-01"]),
    "new_york": (3, "America/New_York", ["2024-02-29", "2024-03-10", "2024-03-11", "2024-11-03", "2024-12-01", "2025-02-28"]),
}  # fmt: skip
WINDOWS = [*SPANS, "all"]
SUM = {"count", "exists", "sum", "mean", "min", "max", "std", "nunique", "days", "first", "last",
       "days_since_last", "days_since_first", "slope", "gap_mean", "gap_std", "gap_max", "gap_last"}  # fmt: skip
BARE = {
    "count",
    "exists",
    "days",
    "days_since_last",
    "days_since_first",
    "gap_mean",
    "gap_std",
    "gap_max",
    "gap_last",
}

Answer = Callable[[Oracle, str, datetime], Any]


def not_b(row: dict[str, Any]) -> bool | None:
    return None if row["kind"] is None else row["kind"] != "b"


def dear(row: dict[str, Any]) -> bool | None:
    return None if row["amount"] is None else row["amount"] >= 25


def window_sets() -> tuple[dict[str, Any], dict[str, Answer]]:
    """Every aggregate of every dated table in every window, plain, filtered, and with a filter on the set."""
    sets: dict[str, Any] = {}
    answers: dict[str, Answer] = {}
    for table in EVENTS:
        for label, only_text, only in (("", None, None), ("_not_b", "kind <> 'b'", not_b)):
            name = f"{table}{label}"
            features: list[dict[str, Any]] = []

            def add(
                feature: dict[str, Any], column: str | None, agg: str, test: Any, prefix: str,
                name: str = name, table: str = table, only: Any = only, features: list[dict[str, Any]] = features,
            ) -> None:  # fmt: skip
                features.append({k: v for k, v in feature.items() if v is not None})
                for window in WINDOWS:
                    stem = "_".join(p for p in (prefix, column, agg) if p)
                    short = (
                        ""
                        if window == "all" and agg.startswith("days_since")
                        else "_all"
                        if window == "all"
                        else f"_{SPANS[window][0]}"
                    )
                    answers[f"{name}.{stem}{short}"] = lambda o, e, c, w=window: o.aggregate(
                        table, e, c, agg, column, w, test, only
                    )

            for agg in sorted(SUM):
                for column in (
                    [None]
                    if agg in BARE
                    else ["kind", "amount"]
                    if agg in ("nunique", "first", "last")
                    else ["amount"]
                ):
                    base = {"agg": agg, "column": column, "windows": WINDOWS}
                    add(base, column, agg, None, "")
                    if not agg.startswith("gap"):
                        add({**base, "where": "amount >= 25", "name": "dear"}, column, agg, dear, "dear")
            features.append({"agg": "share", "column": "kind", "values": ["a", "b"], "windows": WINDOWS})
            for window in WINDOWS:
                short = "all" if window == "all" else SPANS[window][0]
                for value in ("a", "b"):
                    answers[f"{name}.kind_share_{value}_{short}"] = (
                        lambda o, e, c, w=window, v=value, t=table, p=only: o.aggregate(
                            t, e, c, "share", "kind", w, None, p, value=v
                        )
                    )
            for period, window in (("7d", "2 weeks"), ("1 month", "3 months"), ("3 months", "1 year")):
                features.append(
                    {
                        "agg": "share_of_periods",
                        "period": period,
                        "windows": [window],
                        "name": f"by_{SPANS[period][0]}",
                    }
                )
                answers[f"{name}.by_{SPANS[period][0]}_share_of_periods_{SPANS[window][0]}"] = (
                    lambda o, e, c, w=window, q=period, t=table, p=only: o.aggregate(
                        t, e, c, "share_of_periods", None, w, None, p, period=q
                    )
                )
            for column in (None, "amount"):
                features.append(
                    {"agg": "acceleration", "short": "1 month", "long": "12 months"}
                    | ({"column": column} if column else {})
                )
                stem = "_".join(p for p in (column, "acceleration") if p)
                answers[f"{name}.{stem}_1mo_12mo"] = lambda o, e, c, t=table, p=only, col=column: o.aggregate(
                    t, e, c, "acceleration", col, "all", None, p, short="1 month", long="12 months"
                )
            sets[name] = {"kind": "windows", "table": table, "features": features} | (
                {"where": only_text} if only_text else {}
            )
    return sets, answers


def narrow_sets() -> tuple[dict[str, Any], dict[str, Answer]]:
    """Windows whose lengths cross in some months: 30 days and 1 month. The join must reach back far enough."""
    sets, answers = {}, {}
    for table in EVENTS:
        windows = ["30d", "1 month"]
        aggs = ["count", "sum", "gap_max"]
        sets[f"near_{table}"] = {
            "kind": "windows", "table": table, "windows": windows,
            "features": [{"agg": "count"}, {"agg": "sum", "column": "amount"}, {"agg": "gap_max", "windows": windows}],
        }  # fmt: skip
        for agg in aggs:
            for window in windows:
                column = "amount" if agg == "sum" else None
                stem = f"amount_{agg}" if column else agg
                answers[f"near_{table}.{stem}_{SPANS[window][0]}"] = (
                    lambda o, e, c, t=table, a=agg, col=column, w=window: o.aggregate(t, e, c, a, col, w)
                )
    return sets, answers


def other_sets() -> tuple[dict[str, Any], dict[str, Answer]]:
    """Undated aggregates, attributes, calendar, measures."""
    sets: dict[str, Any] = {}
    answers: dict[str, Answer] = {}
    sets["marks"] = {"kind": "windows", "table": "marks", "features": [
        {"agg": ["count", "exists"]}, {"agg": ["sum", "mean", "min", "max", "std", "nunique"], "column": "amount", "where": "kind = 'a' or kind is null"},
    ]}  # fmt: skip
    for agg in ("count", "exists"):
        answers[f"marks.{agg}_all"] = lambda o, e, c, a=agg: o.aggregate("marks", e, c, a)
    for agg in ("sum", "mean", "min", "max", "std", "nunique"):
        answers[f"marks.amount_{agg}_all"] = lambda o, e, c, a=agg: o.aggregate(
            "marks", e, c, a, "amount", test=lambda r: r["kind"] in ("a", None)
        )

    def days_to(o: Oracle, value: Any, cutoff: datetime) -> float | None:
        if value is None:
            return None
        if isinstance(value, datetime):
            return (cutoff - value).total_seconds() / 86_400
        return (
            to_wall(cutoff, o.world.zone) - datetime(value.year, value.month, value.day)
        ).total_seconds() / 86_400

    def attribute(table: str, column: str, test: Any = None) -> Answer:
        return lambda o, e, c: (
            days_to(o, v, c)
            if isinstance(v := o.latest(table, e, c, column, test), (datetime, type(datetime.min.date())))
            else v
        )

    sets["people"] = {"kind": "attributes", "table": "people"}
    for column in ("town", "age", "vip", "born", "seen"):
        answers[f"people.{column}"] = attribute("people", column)
    sets["old"] = {"kind": "attributes", "table": "people", "columns": ["town"], "where": "age > 50"}
    answers["old.town"] = attribute("people", "town", lambda r: r["age"] is not None and r["age"] > 50)
    for table in ("orders", "visits", "calls", "members"):
        columns = {"orders": ["amount", "kind", "paid", "double"], "members": ["grade", "dues", "born"]}.get(
            table, ["amount", "kind"]
        )
        sets[f"latest_{table}"] = {"kind": "attributes", "table": table, "columns": columns}
        for column in columns:
            if column == "double":
                answers[f"latest_{table}.double"] = lambda o, e, c, t=table: (
                    None if (v := o.latest(t, e, c, "amount")) is None else 2 * v
                )
            else:
                answers[f"latest_{table}.{column}"] = attribute(table, column)
    sets["latest_dear"] = {
        "kind": "attributes",
        "table": "visits",
        "columns": ["kind"],
        "where": "amount >= 25",
    }
    answers["latest_dear.kind"] = attribute("visits", "kind", dear)

    parts: dict[str, Callable[[datetime], int]] = {
        "month": lambda d: d.month, "quarter": lambda d: (d.month + 2) // 3, "year": lambda d: d.year, "weekday": lambda d: d.isoweekday(),
        "day": lambda d: d.day, "week": lambda d: d.isocalendar()[1], "dayofyear": lambda d: d.timetuple().tm_yday,
    }  # fmt: skip
    sets["now"] = {"kind": "calendar", "of": "cutoff", "parts": list(parts)}
    for of in ("born", "seen"):
        sets[f"of_{of}"] = {
            "kind": "calendar",
            "of": of,
            "parts": [*parts, "days_until_cutoff", "years_until_cutoff"],
        }
        answers[f"of_{of}.{of}_days_until_cutoff"] = attribute("people", of)
        answers[f"of_{of}.{of}_years_until_cutoff"] = lambda o, e, c, of=of: (
            None if (d := attribute("people", of)(o, e, c)) is None else d / 365.25
        )
    for part, read in parts.items():
        answers[f"now.cutoff_{part}"] = lambda o, e, c, r=read: r(to_wall(c, o.world.zone))
        answers[f"of_born.born_{part}"] = lambda o, e, c, r=read: (
            None if (v := o.latest("people", e, c, "born")) is None else r(v)
        )
        answers[f"of_seen.seen_{part}"] = lambda o, e, c, r=read: (
            None if (v := o.latest("people", e, c, "seen")) is None else r(to_wall(v, o.world.zone))
        )

    sets["ratios"] = {"kind": "measures", "features": {
        "share": {"terms": {"near": {"table": "orders", "agg": "sum", "column": "amount", "window": "3 months"},
                            "ever": {"table": "orders", "agg": "sum", "column": "amount"}}, "value": "near / ever"},
        "more": {"terms": {"a": {"table": "visits", "agg": "count", "where": "kind = 'a'"}, "m": {"table": "calls", "agg": "mean", "column": "amount"}},
                 "value": "case when a > 1 then coalesce(m, -1) else a end"},
        "gap": {"table": "clicks", "agg": "gap_mean", "where": "kind <> 'b'", "window": "12 months"},
        "days": {"table": "orders", "agg": "days", "window": "1 month"},
        "of_double": {"table": "orders", "agg": "sum", "column": "double"},
    }}  # fmt: skip

    def ratio(o: Oracle, e: str, c: datetime) -> float | None:
        near, ever = (o.aggregate("orders", e, c, "sum", "amount", w) for w in ("3 months", "all"))
        return near / ever if ever else None

    def more(o: Oracle, e: str, c: datetime) -> float:
        a = o.aggregate("visits", e, c, "count", test=lambda r: r["kind"] == "a")
        m = o.aggregate("calls", e, c, "mean", "amount")
        return (-1 if m is None else m) if a > 1 else a

    answers["ratios.share"], answers["ratios.more"] = ratio, more
    answers["ratios.gap"] = lambda o, e, c: o.aggregate(
        "clicks", e, c, "gap_mean", None, "12 months", only=not_b
    )
    answers["ratios.days"] = lambda o, e, c: o.aggregate("orders", e, c, "days", None, "1 month")
    answers["ratios.of_double"] = lambda o, e, c: 2 * o.aggregate("orders", e, c, "sum", "amount")
    return sets, answers


def neighbour_sets() -> tuple[dict[str, Any], dict[str, Answer]]:
    """Neighbours over a dated, a directed and an undated relation; by kind, weighted, and of neighbours' neighbours."""
    sets: dict[str, Any] = {}
    answers: dict[str, Answer] = {}
    count = {"table": "visits", "agg": "count", "window": "3 months"}
    mean = {"table": "orders", "agg": "mean", "column": "amount"}
    second = {"relation": "links", "agg": "sum", "of": count}
    combined = {"terms": {"n": count, "m": mean}, "value": "m / n"}

    def visits(o: Oracle, e: str, c: datetime) -> float:
        return o.aggregate("visits", e, c, "count", None, "3 months")

    def orders(o: Oracle, e: str, c: datetime) -> float | None:
        return o.aggregate("orders", e, c, "mean", "amount")

    def ratio(o: Oracle, e: str, c: datetime) -> float | None:
        m, n = orders(o, e, c), visits(o, e, c)
        return None if m is None or not n else m / n

    def further(o: Oracle, e: str, c: datetime) -> float | None:
        return o.over(o.neighbours(RELATIONS["links"], e, c), "sum", False, lambda x: visits(o, x, c))

    measures = {
        "visits": (count, visits),
        "orders": (mean, orders),
        "ratio": (combined, ratio),
        "second": (second, further),
    }
    for relation, types in (("ties", None), ("ties", ["kin", "work"]), ("arrows", ["kin"]), ("links", None)):
        name = f"{relation}_{'by' if types else 'all'}"
        weighted = [False, True] if relation == "ties" else [False]
        features: list[dict[str, Any]] = []
        for weight in weighted:
            for label, agg, of, answer in [("", "count", None, None), *(
                (f"{key}_", agg, of, answer) for key, (of, answer) in measures.items() for agg in ("sum", "mean", "max")
            )]:  # fmt: skip
                feature = f"{label}{agg}{'_weighted' if weight else ''}"
                features.append({"name": feature, "agg": agg, "weight": weight} | ({"of": of} if of else {}))
                for kind in types or [None]:  # type: ignore[list-item]
                    answers[f"{name}.{feature}" + (f"_{kind}" if kind else "")] = (
                        lambda o, e, c, r=relation, k=kind, a=agg, w=weight, f=answer: o.over(
                            o.neighbours(RELATIONS[r], e, c, [k] if k else None),
                            a,
                            w,
                            None if f is None else lambda x: f(o, x, c),
                        )
                    )
        sets[name] = {"kind": "neighbours", "relation": relation, "features": features} | (
            {"types": types} if types else {}
        )
    return sets, answers


def together() -> tuple[dict[str, Any], dict[str, Answer]]:
    sets: dict[str, Any] = {}
    answers: dict[str, Answer] = {}
    for part in (window_sets(), narrow_sets(), other_sets(), neighbour_sets()):
        sets |= part[0]
        answers |= part[1]
    return sets, answers


SETS, ANSWERS = together()
HORIZON = {"horizon": "3 months"}
TARGETS: dict[str, Any] = {
    "orders_again": {"kind": "event_within", "table": "orders", "where": "kind <> 'b'", **HORIZON},
    "visits_again": {"kind": "event_within", "table": "visits", "horizon": "36h"},
    "ever_dear": {"kind": "value", "of": {"table": "calls", "agg": "max", "column": "amount"}, **HORIZON},
    "dear_before": {"kind": "value", "of": {"table": "calls", "agg": "max", "column": "amount"}, "at": "cutoff", **HORIZON},
    "recent": {"kind": "value", "of": {"table": "clicks", "agg": "days_since_last"}, "horizon": "1 month"},
    "steady": {"kind": "value", "of": {"table": "orders", "agg": "share_of_periods", "window": "3 months", "period": "1 month"}, **HORIZON},
    "circle": {"kind": "value", **HORIZON, "of": {"relation": "ties", "weight": True, "agg": "sum", "types": ["kin"],
               "of": {"terms": {"n": {"table": "orders", "agg": "count", "window": "horizon"}, "d": {"table": "calls", "agg": "days", "window": "horizon"}},
                      "value": "n + d"}}},
    "level": {"kind": "classes", **HORIZON, "terms": {"n": {"table": "orders", "agg": "count", "window": "horizon"},
              "before": {"table": "orders", "agg": "count", "window": "all"}},
              "classes": {"none": "before = 0", "quiet": "n = 0", "busy": "n > 1", "one": "n = 1"}},
}  # fmt: skip


def target_answers(o: Oracle, e: str, c: datetime) -> dict[str, Any]:
    """Raw values of the targets: what happened counts, whenever it became known."""
    end, soon, month = o.after(c, "3 months"), o.after(c, "36h"), o.after(c, "1 month")

    def of(
        table: str, agg: str, column: str | None = None, window: str = "all", at: datetime = end, **more: Any
    ) -> Any:
        return o.aggregate(table, e, c, agg, column, window, at=at, known_only=False, **more)

    def near(other: str) -> float:
        n = o.aggregate("orders", other, c, "count", None, "horizon", at=end, known_only=False)
        return n + o.aggregate("calls", other, c, "days", None, "horizon", at=end, known_only=False)

    n, ever = of("orders", "count", window="horizon"), of("orders", "count")
    return {
        "orders_again": of("orders", "count", window="horizon", test=not_b),
        "visits_again": of("visits", "count", window="horizon", at=soon),
        "ever_dear": of("calls", "max", "amount"),
        "dear_before": of("calls", "max", "amount", at=c),
        "recent": of("clicks", "days_since_last", at=month),
        "steady": of("orders", "share_of_periods", window="3 months", period="1 month"),
        "circle": o.over(o.neighbours(RELATIONS["ties"], e, c, ["kin"]), "sum", True, near),
        "level": "none" if not ever else "quiet" if not n else "busy" if n > 1 else "one",
    }


@pytest.fixture(scope="module", params=WORLDS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[World, Made, Oracle]:
    seed, zone, days = WORLDS[request.param]
    found = world(seed, zone, days)
    folder = tmp_path_factory.mktemp(request.param)
    found.write(folder)
    return found, make(folder, declare({"cutoffs": days, "timezone": zone}, SETS, TARGETS)), Oracle(found)


def test_the_cohort_is_everyone_at_every_cutoff(made: tuple[World, Made, Oracle]) -> None:
    world, compiled, _ = made
    expected = [(c, e) for c in world.cutoffs for e in sorted(row["id"] for row in world.rows["people"])]
    rows = compiled.cohort()
    assert [(r["cutoff"], r["entity"]) for r in rows] == expected
    assert [r["@row"] for r in rows] == list(range(len(expected)))


def test_every_feature_of_every_row_agrees_with_the_oracle(made: tuple[World, Made, Oracle]) -> None:
    _, compiled, oracle = made
    found, rows = compiled.features(), compiled.cohort()
    assert sorted(found) == sorted(ANSWERS)
    wrong = {}
    for name, answer in ANSWERS.items():
        expected = {r["@row"]: answer(oracle, r["entity"], r["cutoff"]) for r in rows}
        if bad := disagreements(found[name], expected):
            wrong[name] = (len(bad), bad[:3])
    assert not wrong, (
        "\n".join(f"{name}: {text}" for name, text in sorted(wrong.items())[:40]) + f"\n{len(wrong)} features"
    )


def test_every_target_of_every_row_agrees_with_the_oracle(made: tuple[World, Made, Oracle]) -> None:
    _, compiled, oracle = made
    answers = {r["@row"]: target_answers(oracle, r["entity"], r["cutoff"]) for r in compiled.cohort()}
    for name in TARGETS:
        bad = disagreements(compiled.raw(name), {row: found[name] for row, found in answers.items()})
        assert not bad, (name, len(bad), bad[:5])


def test_the_worlds_would_show_a_difference(made: tuple[World, Made, Oracle]) -> None:
    """Positive control: most features vary, and an oracle that looks one second too far disagrees."""
    _, compiled, oracle = made
    found, rows = compiled.features(), compiled.cohort()
    varied = [name for name, values in found.items() if len(set(values.values())) > 1]
    assert len(varied) > 0.97 * len(found)

    def late(table: str) -> dict[int, Any]:
        return {
            r["@row"]: oracle.aggregate(
                table,
                r["entity"],
                r["cutoff"],
                "count",
                at=datetime.fromtimestamp(r["cutoff"].timestamp() + 1),
            )
            for r in rows
        }

    assert disagreements(found["clicks.count_all"], late("clicks")) or disagreements(
        found["visits.count_all"], late("visits")
    )


def test_the_matrix_holds_the_same_values_as_float32(made: tuple[World, Made, Oracle]) -> None:
    _, compiled, _ = made
    matrix, found = compiled.matrix(), compiled.features()
    for feature in matrix.features:
        column = matrix.columns[feature.name]
        values = [found[feature.name][row] for row in range(len(matrix))]
        if feature.kind == "categorical":
            assert [None if v is np.nan or v != v else v for v in column.astype(object)] == values
        else:
            expected = np.array([math.nan if v is None else v for v in values], np.float32)
            np.testing.assert_array_equal(column, expected)


def test_values_agree_as_the_oracle_says() -> None:
    """Positive control of the comparison itself."""
    assert same(None, None)
    assert same(1, 1.0)
    assert same(0.1 + 0.2, 0.3)
    assert not same(None, 0)
    assert not same(1.0, 1.0000001)
    assert not same("a", "b")
