"""Feature sets and targets as YAML would declare them, each with the oracle's answer beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from typing import Any

from oracle import Oracle, Row
from worlds import EVENTS, SPANS, to_wall

Answer = Callable[[Oracle, str, datetime], Any]
COLUMN_OF = {
    "count": None, "exists": None, "days": None, "days_since_last": None, "days_since_first": None,
    "gap_mean": None, "gap_std": None, "gap_max": None, "gap_last": None,
    "sum": "amount", "mean": "amount", "min": "amount", "max": "amount", "std": "amount", "slope": "amount",
    "nunique": "kind", "first": "kind", "last": "amount",
}  # fmt: skip
ALL, SOME = [*SPANS, "all"], ["30d", "1 month", "all"]


def not_b(row: Row) -> bool | None:
    return None if row["kind"] is None else row["kind"] != "b"


def dear(row: Row) -> bool | None:
    return None if row["amount"] is None else row["amount"] >= 25


def asked(table: str, agg: str, column: str | None = None, window: str = "all", **more: Any) -> Answer:
    """The oracle's answer for one aggregate."""
    return lambda o, entity, cutoff: o.aggregate(table, entity, cutoff, agg, column, window, **more)


class Questions:
    """sets: declarations by name; answers: feature → what it must be."""

    def __init__(self) -> None:
        self.sets: dict[str, Any] = {}
        self.answers: dict[str, Answer] = {}
        for table in EVENTS:
            self.windows(table, table, ALL)
            self.windows(f"{table}_not_b", table, SOME, "kind <> 'b'", not_b)
            self.near(table)
        self.undated()
        self.attributes()
        self.calendar()
        self.measures()
        self.neighbours()

    def windows(
        self, name: str, table: str, windows: list[str], where: str | None = None, only: Any = None
    ) -> None:
        """Every aggregate in every window; and once more with a filter of its own."""
        features: list[dict[str, Any]] = []

        def feature(declared: dict[str, Any], stem: str, window: str, answer: Answer) -> None:
            if declared not in features:
                features.append(declared)
            self.answers[f"{name}.{stem}{window}"] = answer

        for agg, column in COLUMN_OF.items():
            for prefix, test, over in (("", None, windows), ("dear", dear, SOME)):
                if test and agg.startswith("gap"):
                    continue
                declared = {"agg": agg, "windows": over}
                declared |= {"column": column} if column else {}
                declared |= {"where": "amount >= 25", "name": prefix} if test else {}
                stem = "_".join(part for part in (prefix, column, agg) if part)
                for window in over:
                    short = "" if (window, agg[:10]) == ("all", "days_since") else f"_{short_of(window)}"
                    feature(declared, stem, short, asked(table, agg, column, window, test=test, only=only))
        declared = {"agg": "share", "column": "kind", "values": ["a", "b"], "windows": windows}
        for window in windows:
            for value in ("a", "b"):
                answer = asked(table, "share", "kind", window, only=only, value=value)
                feature(declared, f"kind_share_{value}", f"_{short_of(window)}", answer)
        for period, window in (("7d", "2 weeks"), ("1 month", "3 months"), ("3 months", "1 year")):
            stem = f"by_{short_of(period)}"
            declared = {"agg": "share_of_periods", "period": period, "windows": [window], "name": stem}
            answer = asked(table, "share_of_periods", None, window, only=only, period=period)
            feature(declared, f"{stem}_share_of_periods", f"_{short_of(window)}", answer)
        for column in (None, "amount"):
            declared = {"agg": "acceleration", "short": "1 month", "long": "12 months"}
            declared |= {"column": column} if column else {}
            stem = "_".join(part for part in (column, "acceleration") if part)
            answer = asked(table, "acceleration", column, only=only, short="1 month", long="12 months")
            feature(declared, stem, "_1mo_12mo", answer)
        self.sets[name] = {"kind": "windows", "table": table, "features": features}
        self.sets[name] |= {"where": where} if where else {}

    def near(self, table: str) -> None:
        """Windows of which now one, now the other is longer: the join must reach back far enough for both."""
        pair = ["30d", "1 month"]
        features = [{"agg": "count"}, {"agg": "sum", "column": "amount"}, {"agg": "gap_max", "windows": pair}]
        self.sets[f"near_{table}"] = {
            "kind": "windows",
            "table": table,
            "windows": pair,
            "features": features,
        }
        for window in pair:
            for agg, column, stem in (
                ("count", None, "count"), ("sum", "amount", "amount_sum"), ("gap_max", None, "gap_max"),
            ):  # fmt: skip
                self.answers[f"near_{table}.{stem}_{short_of(window)}"] = asked(table, agg, column, window)

    def undated(self) -> None:
        aggs = ["sum", "mean", "min", "max", "std", "nunique"]
        some = "kind = 'a' or kind is null"
        self.sets["marks"] = {
            "kind": "windows",
            "table": "marks",
            "features": [
                {"agg": ["count", "exists"]},
                {"agg": aggs, "column": "amount", "where": some},
                {"agg": "share", "column": "kind", "values": ["B"]},
            ],
        }
        self.answers["marks.kind_share_B_all"] = asked("marks", "share", "kind", value="B")
        for agg in ("count", "exists"):
            self.answers[f"marks.{agg}_all"] = asked("marks", agg)
        for agg in aggs:
            answer = asked("marks", agg, "amount", test=lambda r: r["kind"] in ("a", None))
            self.answers[f"marks.amount_{agg}_all"] = answer

    def attributes(self) -> None:
        """Undated, dated with one row for each entity, and histories; with ties and missing values."""
        columns = {
            "people": ["town", "age", "vip", "born", "seen"], "members": ["grade", "dues", "born"],
            "orders": ["amount", "kind", "paid", "double"], "visits": ["amount", "kind"], "calls": ["amount", "kind"],
        }  # fmt: skip
        for table, names in columns.items():
            self.sets[f"of_{table}"] = {"kind": "attributes", "table": table, "columns": names}
            for column in names:
                self.answers[f"of_{table}.{column}"] = partial(attribute, table, column, None)
        self.answers["of_orders.double"] = lambda o, e, c: (
            None if (v := o.latest("orders", e, c, "amount")) is None else 2 * v
        )
        self.sets["old"] = {
            "kind": "attributes",
            "table": "people",
            "columns": ["town"],
            "where": "age > 50",
        }
        self.answers["old.town"] = partial(attribute, "people", "town", lambda r: (r["age"] or 0) > 50)
        self.sets["of_dear"] = {
            "kind": "attributes",
            "table": "visits",
            "columns": ["kind"],
            "where": "amount >= 25",
        }
        self.answers["of_dear.kind"] = partial(attribute, "visits", "kind", dear)

    def calendar(self) -> None:
        parts: dict[str, Callable[[datetime], int]] = {
            "month": lambda d: d.month, "quarter": lambda d: (d.month + 2) // 3, "year": lambda d: d.year,
            "weekday": lambda d: d.isoweekday(), "day": lambda d: d.day, "week": lambda d: d.isocalendar()[1],
            "dayofyear": lambda d: d.timetuple().tm_yday,
        }  # fmt: skip

        def part(read: Callable[[datetime], int], column: str, o: Oracle, e: str, c: datetime) -> int | None:
            value = c if column == "cutoff" else o.latest("people", e, c, column)
            if value is None:
                return None
            return read(to_wall(value, o.world.zone) if isinstance(value, datetime) else value)

        def years(column: str, o: Oracle, e: str, c: datetime) -> float | None:
            days = attribute("people", column, None, o, e, c)
            return None if days is None else days / 365.25

        for of in ("cutoff", "born", "seen"):
            until = [] if of == "cutoff" else ["days_until_cutoff", "years_until_cutoff"]
            self.sets[f"when_{of}"] = {"kind": "calendar", "of": of, "parts": [*parts, *until]}
            for name, read in parts.items():
                self.answers[f"when_{of}.{of}_{name}"] = partial(part, read, of)
            if until:
                self.answers[f"when_{of}.{of}_days_until_cutoff"] = partial(attribute, "people", of, None)
                self.answers[f"when_{of}.{of}_years_until_cutoff"] = partial(years, of)

    def measures(self) -> None:
        """Ratios with zero denominators, conditions over terms, gaps with a filter."""
        total = {"table": "orders", "agg": "sum", "column": "amount"}
        self.sets["ratios"] = {"kind": "measures", "features": {
            "share": {"terms": {"near": {**total, "window": "3 months"}, "ever": total}, "value": "near / ever"},
            "more": {
                "terms": {"a": {"table": "visits", "agg": "count", "where": "kind = 'a'"},
                          "m": {"table": "calls", "agg": "mean", "column": "amount"},
                          "s": {"table": "calls", "agg": "slope", "column": "amount"}},
                "value": "case when a > 1 then coalesce(m, -1) when s is null then -2 else a end",
            },
            "gap": {"table": "clicks", "agg": "gap_mean", "where": "kind <> 'b'", "window": "12 months"},
            "days": {"table": "orders", "agg": "days", "window": "1 month"},
            "of_double": {"table": "orders", "agg": "sum", "column": "double"},
        }}  # fmt: skip

        def share(o: Oracle, e: str, c: datetime) -> float | None:
            near, ever = (o.aggregate("orders", e, c, "sum", "amount", w) for w in ("3 months", "all"))
            return near / ever if ever else None

        def more(o: Oracle, e: str, c: datetime) -> float:
            a = o.aggregate("visits", e, c, "count", test=lambda r: r["kind"] == "a")
            m = o.aggregate("calls", e, c, "mean", "amount")
            if a > 1:
                return -1 if m is None else m
            return -2 if o.aggregate("calls", e, c, "slope", "amount") is None else a

        self.answers["ratios.share"], self.answers["ratios.more"] = share, more
        self.answers["ratios.gap"] = asked("clicks", "gap_mean", None, "12 months", only=not_b)
        self.answers["ratios.days"] = asked("orders", "days", None, "1 month")
        self.answers["ratios.of_double"] = lambda o, e, c: 2 * o.aggregate("orders", e, c, "sum", "amount")

    def neighbours(self) -> None:
        """Over a dated, a directed and an undated relation: by kind, weighted, and neighbours' neighbours."""
        count = {"table": "visits", "agg": "count", "window": "3 months"}
        mean = {"table": "orders", "agg": "mean", "column": "amount"}
        visits, orders = asked("visits", "count", None, "3 months"), asked("orders", "mean", "amount")

        def ratio(o: Oracle, e: str, c: datetime) -> float | None:
            m, n = orders(o, e, c), visits(o, e, c)
            return None if m is None or not n else m / n

        def second(o: Oracle, e: str, c: datetime) -> float | None:
            return o.over(o.neighbours("links", e, c), "sum", False, lambda x: visits(o, x, c))

        of: dict[str, tuple[Any, Answer]] = {
            "visits": (count, visits),
            "orders": (mean, orders),
            "ratio": ({"terms": {"n": count, "m": mean}, "value": "m / n"}, ratio),
            "second": ({"relation": "links", "agg": "sum", "of": count}, second),
        }

        def over(
            relation: str, kind: str | None, agg: str, weight: bool, answer: Answer | None,
            o: Oracle, e: str, c: datetime,
        ) -> float | None:  # fmt: skip
            edges = o.neighbours(relation, e, c, (kind,) if kind else None)
            return o.over(edges, agg, weight, None if answer is None else lambda x: answer(o, x, c))

        for name, relation, types in (
            ("ties_all", "ties", None), ("ties_by", "ties", ["kin", "work"]),
            ("arrows_by", "arrows", ["kin"]), ("links_all", "links", None),
        ):  # fmt: skip
            features: list[dict[str, Any]] = []
            for weight in (False, True) if relation == "ties" else (False,):
                asks: list[tuple[str, str, Any, Answer | None]] = [("count", "count", None, None)]
                asks += [(f"{key}_{agg}", agg, *of[key]) for key in of for agg in ("sum", "mean", "max")]
                for label, agg, declared, answer in asks:
                    feature = f"{label}_weighted" if weight else label
                    features.append({"name": feature, "agg": agg, "weight": weight})
                    features[-1] |= {"of": declared} if declared else {}
                    for kind in types or [None]:  # type: ignore[list-item]
                        full = f"{name}.{feature}" + (f"_{kind}" if kind else "")
                        self.answers[full] = partial(over, relation, kind, agg, weight, answer)
            self.sets[name] = {"kind": "neighbours", "relation": relation, "features": features}
            self.sets[name] |= {"types": types} if types else {}


def short_of(window: str) -> str:
    return "all" if window == "all" else SPANS[window][0]


def attribute(table: str, column: str, test: Any, o: Oracle, entity: str, cutoff: datetime) -> Any:
    """A column as known at the cutoff; a date as its distance to the cutoff in days."""
    value = o.latest(table, entity, cutoff, column, test)
    if isinstance(value, datetime):
        return (cutoff - value).total_seconds() / 86_400
    if isinstance(value, date):
        midnight = datetime(value.year, value.month, value.day)
        return (to_wall(cutoff, o.world.zone) - midnight).total_seconds() / 86_400
    return value


THREE = {"horizon": "3 months"}
LARGEST = {"table": "calls", "agg": "max", "column": "amount"}
IN_HORIZON: dict[str, Any] = {
    "n": {"table": "orders", "agg": "count", "window": "horizon"},
    "d": {"table": "calls", "agg": "days", "window": "horizon"},
}
LOST: dict[str, Any] = {
    "busy": {"kind": "event_within", "table": "clicks", "at_least": 2},
    "idle": {"kind": "inactivity", "table": "orders", "where": "kind <> 'b'"},
    "quiet": {"kind": "silence", "table": "calls", "lasting": "7d"},
}
TARGETS: dict[str, Any] = {
    "orders_again": {"kind": "event_within", "table": "orders", "where": "kind <> 'b'", **THREE},
    "visits_again": {"kind": "event_within", "table": "visits", "horizon": "36h"},
    "quiet": {"kind": "silence", "table": "orders", "where": "kind <> 'b'", "lasting": "30d", **THREE},
    "silent": {"kind": "silence", "table": "visits", "lasting": "36h", "horizon": "7d"},
    "hushed": {"kind": "silence", "table": "clicks", "lasting": "2 weeks", **THREE},
    "lost": {"kind": "any_of", "definitions": LOST, **THREE},
    "largest": {"kind": "value", "of": LARGEST, **THREE},
    "largest_before": {"kind": "value", "of": LARGEST, "at": "cutoff", **THREE},
    "recent": {"kind": "value", "of": {"table": "clicks", "agg": "days_since_last"}, "horizon": "1 month"},
    "gap": {"kind": "value", "of": {"table": "visits", "agg": "gap_max", "window": "3 months"}, **THREE},
    "steady": {
        "kind": "value", **THREE,
        "of": {"table": "orders", "agg": "share_of_periods", "window": "3 months", "period": "1 month"},
    },
    "circle": {
        "kind": "value", **THREE,
        "of": {"relation": "ties", "weight": True, "agg": "sum", "types": ["kin"], "of": {"terms": IN_HORIZON, "value": "n + d"}},
    },
    "level": {
        "kind": "classes", **THREE,
        "terms": {"n": IN_HORIZON["n"], "before": {"table": "orders", "agg": "count"}},
        "classes": {"none": "before = 0", "quiet": "n = 0", "busy": "n > 1", "one": "n = 1"},
    },
}  # fmt: skip


def target_answers(o: Oracle, e: str, c: datetime) -> dict[str, Any]:
    """Raw values of the targets: what happened by the end counts, whenever it became known."""
    end, soon, month = o.after(c, "3 months"), o.after(c, "36h"), o.after(c, "1 month")

    def of(
        table: str, agg: str, column: str | None = None, window: str = "all", at: datetime = end, who: str = e, **more: Any
    ) -> Any:  # fmt: skip
        return o.aggregate(table, who, c, agg, column, window, at=at, known_only=False, **more)

    def near(other: str) -> float:
        return of("orders", "count", None, "horizon", who=other) + of(
            "calls", "days", None, "horizon", who=other
        )

    n, ever = of("orders", "count", window="horizon"), of("orders", "count")
    return {
        "orders_again": of("orders", "count", window="horizon", test=not_b),
        "visits_again": of("visits", "count", window="horizon", at=soon),
        "quiet": o.silent("orders", e, c, end, "30d", not_b),
        "silent": o.silent("visits", e, c, o.after(c, "7d"), "36h"),
        "hushed": o.silent("clicks", e, c, end, "2 weeks"),
        "lost": (of("clicks", "count", window="horizon") >= 2)
        + 2 * (of("orders", "count", window="horizon", test=not_b) == 0)
        + 4 * o.silent("calls", e, c, end, "7d"),
        "largest": of("calls", "max", "amount"),
        "largest_before": of("calls", "max", "amount", at=c),
        "recent": of("clicks", "days_since_last", at=month),
        "gap": of("visits", "gap_max", window="3 months"),
        "steady": of("orders", "share_of_periods", window="3 months", period="1 month"),
        "circle": o.over(o.neighbours("ties", e, c, ("kin",)), "sum", True, near),
        "level": "none" if not ever else "quiet" if not n else "busy" if n > 1 else "one",
    }
