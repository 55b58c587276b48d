"""Evidence made by hand, for tests of the report: no run, no model, plain numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.report.evidence import (
    Bin,
    Calibration,
    Cut,
    Data,
    Decile,
    Distribution,
    Drift,
    Driver,
    Evidence,
    Example,
    Gains,
    ModelLine,
    Overlap,
    Reason,
    Target,
    Tuned,
    Verdict,
)

NAN = math.nan
NAMES = [
    "days since the last order",
    "orders in 12 months",
    "region",
    "visits in 30 days",
    "share of months active",
]


def gains(rows: int = 18_000, positives: int = 3_600, power: float = 2.6, money: bool = True) -> Gains:
    """A concave curve, with a rule that lies between it and chance."""
    called = np.linspace(0, rows, 121)
    part = called / rows
    found, rule = (positives * (1 - (1 - part) ** p) for p in (power, 1 + (power - 1) * 0.6))
    spread = 2 * np.sqrt(np.maximum(found * (1 - found / positives), 0))
    value = 912_345.0 * (1 - (1 - part) ** (power + 1)) if money else None
    low, high = np.maximum(found - spread, 0), np.minimum(found + spread, positives)
    worth = (None, None) if value is None else (value * 0.9, value * 1.1)
    return Gains(called, found, low, high, rule, rows, positives, value, 912_345.0 if money else None, *worth)


def deciles(curve: Gains) -> list[Decile]:
    found = []
    for i in range(10):
        low, high = (float(np.interp(curve.rows * j / 10, curve.called, curve.found)) for j in (i, i + 1))
        rows, hits = curve.rows // 10, round(high - low)
        rate = hits / rows
        money: dict[str, float] = {}
        if curve.value is not None and curve.value_total:
            before, after = (
                float(np.interp(curve.rows * j / 10, curve.called, curve.value)) for j in (i, i + 1)
            )
            money = {"value": after - before, "value_capture": after / curve.value_total}
        lift, noise = rate / (curve.positives / curve.rows), 2 * math.sqrt(rate * (1 - rate) / rows)
        found.append(
            Decile(
                i + 1,
                rows,
                hits,
                rate,
                lift,
                high / curve.positives,
                0.9 - 0.09 * i,
                (max(rate - noise, 0), rate + noise),
                lowest_probability=0.86 - 0.09 * i,
                **money,
            )
        )
    return found  # fmt: skip


def verdict(curve: Gains, size: int = 1_500, good: bool = True) -> Verdict:
    found, low, high = (float(np.interp(size, curve.called, c)) for c in (curve.found, curve.low, curve.high))
    value, margin = (0.781, (0.045, 0.028, 0.059)) if good else (0.503, (-0.004, -0.021, 0.013))
    return Verdict(
        size, round(found), (low, high), size * curve.positives / curve.rows, "roc_auc", value,
        (value - 0.017, value + 0.017), margin, "by `days since the last order` alone: up to 30: 41% (1,204 rows)",
        good, good, "the declared capacity", curve.rows, curve.positives, test_rows=curve.rows, rarest=curve.positives,
    )  # fmt: skip


def models(metric: str = "roc_auc", base: float = 0.5, best: float = 0.781) -> list[ModelLine]:
    more = {"pr_auc": 0.512, "f1": 0.554, "precision": 0.481, "recall": 0.655, "brier": 0.128,
            "accuracy": 0.712, "macro_f1": 0.655, "log_loss": 0.71, "rmse": 182.4, "mae": 96.2, "spearman": 0.66}  # fmt: skip
    worse = {"prior": {"accuracy": 0.48, "mae": 141.9}, "rule": {"accuracy": 0.6, "mae": 118.0}}
    lines = [
        ("prior", base),
        ("rule", best - 0.045),
        ("logistic", best - 0.012),
        ("lightgbm", best),
        ("random_forest", best - 0.006),
    ]
    return [
        ModelLine(name, name == "lightgbm", name in ("prior", "rule"), value - 0.004, more | worse.get(name, {}) | {metric: value},
                  {} if name == "prior" else {metric: (value - 0.017, value + 0.016), "mae": (93.1, 99.4), "accuracy": (0.69, 0.73)},
                  None if name in ("prior", "rule") else (value - best + 0.045, value - best + 0.028, value - best + 0.059),
                  0.3 * (i + 1) ** 3, ["by `days since the last order` alone: up to 30: 41% (1,204 rows)"] if name == "rule" else [])
        for i, (name, value) in enumerate(lines)
    ]  # fmt: skip


def calibration() -> Calibration:
    def bins(bend: float) -> list[Bin]:
        predicted = [0.02, 0.05, 0.08, 0.12, 0.17, 0.22, 0.3, 0.41, 0.55, 0.72]
        return [
            Bin(p, p**bend, max(p**bend - 0.03, 0), p**bend + 0.03, 1800 - 90 * i)
            for i, p in enumerate(predicted)
        ]

    return Calibration("isotonic", "1,310 positives and 5,200 negatives in validation", bins(1.35), bins(1.02),
                       {"brier": 0.139, "ece": 0.061, "log_loss": 0.44}, {"brier": 0.128, "ece": 0.012, "log_loss": 0.41})  # fmt: skip


def cut() -> Cut:
    at = np.linspace(0.02, 0.92, 90)
    precision, recall = 0.2 + 0.75 * at**0.7, (1 - at) ** 1.7
    return Cut(
        at,
        precision,
        recall,
        2 * precision * recall / (precision + recall),
        (1 - at) ** 3,
        0.36,
        "highest F1 on validation: 0.554",
        0.34,
    )


def groups(metric: str = "roc_auc", value: float = 0.78) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "by": "cutoff",
            "group": f"202{i}-01-01T00:00:00",
            "rows": 9_000,
            metric: value - 0.01 * i,
            "mean": 0.2,
            "interval": (value - 0.03, value + 0.02),
        }
        for i in (3, 4)
    ]
    for i, region in enumerate(["North", "East", "South", "West"]):
        found.append({"by": "region", "group": region, "rows": 5_200 - 1_100 * i, metric: value + 0.02 - 0.02 * i, "mean": 0.18 + 0.02 * i,
                      "interval": (value - 0.02 - 0.02 * i, value + 0.05 - 0.02 * i)})  # fmt: skip
    found.append({"by": "region", "group": "Islands", "rows": 12, "withheld": "fewer than 50 rows"})
    found.append(
        {
            "by": "region",
            "group": "missing",
            "rows": 61,
            metric: None,
            "mean": 0.0,
            "interval": None,
            "undefined": "no positive row",
        }
    )
    return found


def drivers() -> list[Driver]:
    wave = [(f"{10 * i} to {10 * i + 10}", 1_800, 0.9 - 0.2 * i) for i in range(10)]
    up = [(text, rows, -value) for text, rows, value in wave]
    levels = [("North", 5_200, 0.21), ("East", 4_100, 0.05), ("South", 3_000, -0.04), ("West", 1_900, -0.3)]
    shapes = [
        ("falls", wave),
        ("rises", up),
        ("levels", levels),
        ("rises", up[2:]),
        ("mixed", [wave[i % 7] for i in range(10)]),
    ]
    return [
        Driver(
            f"orders.f{i}",
            name,
            0.061 / (i + 1),
            (0.055 / (i + 1), 0.067 / (i + 1)),
            0.4 / (i + 1),
            direction,
            shape,
            ("West", "North") if direction == "levels" else None,
        )
        for i, (name, (direction, shape)) in enumerate(zip(NAMES, shapes, strict=True))
    ]


def examples(probability: bool = True) -> list[Example]:
    reasons = [
        Reason("orders.f0", "12", 0.83),
        Reason("orders.f1", "9", 0.41),
        Reason("orders.f2", "West", -0.27),
        Reason("orders.f3", "0", -0.05),
    ]
    kinds = [
        ("best", 1, 0.93, 1.0),
        ("threshold", 3_410, 0.36, 0.0),
        ("unexpected_no", 41, 0.88, 0.0),
        ("unexpected_yes", 16_203, 0.03, 1.0),
        ("low", 13_500, 0.05, 0.0),
    ]
    return [
        Example(f"K{rank:06}", "2024-01-01", p, p if probability else None, label, rank, reasons, role)
        for role, rank, p, label in kinds
    ]


def binary(name: str = "orders_again", good: bool = True, money: bool = True, size: int = 1_500) -> Target:
    curve = gains(power=2.6 if good else 1.02, money=money)
    rates = {
        part: {"rows": rows, "mean": 0.2}
        for part, rows in (("train", 41_000), ("validation", 6_510), ("test", 18_000))
    }
    return Target(
        name, "binary", "Orders within 12 months of the cutoff", "12 months", (), rates, {"type": "binary", "classes": [], "quantiles": {}},
        "roc_auc", models(best=0.781 if good else 0.503), verdict(curve, size, good), deciles(curve), curve, calibration(), cut(), groups(),
        drivers(), "lightgbm: shuffled validation rows; TreeSHAP", examples(), list_file=f"{name}.csv", listed=18_000,
    )  # fmt: skip


def multiclass(name: str = "next_plan") -> Target:
    classes = ("free", "team", "enterprise")
    confusion = np.array([[4_100, 520, 33], [610, 1_900, 240], [12, 180, 405]])
    per = [{"class": c, "rows": int(confusion[i].sum()), "predicted": int(confusion[:, i].sum()), "precision": 0.8 - 0.1 * i, "recall": 0.88 - 0.1 * i, "f1": 0.83 - 0.1 * i}
           for i, c in enumerate(classes)]  # fmt: skip
    shares = dict(zip(classes, (0.58, 0.34, 0.08), strict=True))
    rates = {part: {"rows": 8_000, "shares": shares} for part in ("train", "validation", "test")}
    parts = [
        {k: v for k, v in g.items() if k != "mean"} | ({} if "withheld" in g else {"shares": shares})
        for g in groups("macro_auc")
    ]
    found = Verdict(
        0,
        0,
        None,
        0.0,
        "macro_auc",
        0.81,
        (0.8, 0.82),
        (0.06, 0.05, 0.07),
        "by `seats` alone",
        True,
        True,
        test_rows=8_000,
        rarest=597,
    )
    return Target(
        name, "multiclass", "The plan that is held a year on", "12 months", classes, rates, {}, "macro_auc", models("macro_auc", 0.5, 0.81), found, [], None,
        calibration(), None, parts, drivers(), "logistic: coefficients", [replace(e, label=1.0, predicted=c) for e, c in zip(examples(), classes * 2, strict=False)], confusion, per, list_file=f"{name}.csv",
    )  # fmt: skip


def regression(name: str = "amount_next_year") -> Target:
    rng = np.random.default_rng(0)
    true = rng.gamma(2, 150, 4_000)
    predicted = true * 0.7 + 90 + rng.normal(0, 70, 4_000)
    edges = np.linspace(0, 1_200, 31)
    counts, _, _ = np.histogram2d(true, predicted, bins=[edges, edges])
    errors = predicted - true
    residuals = {"quantiles": {f"{q}%": float(np.percentile(errors, q)) for q in (5, 25, 50, 75, 95)},
                 "true_edges": edges, "predicted_edges": edges, "counts": counts}  # fmt: skip
    rates = {part: {"rows": 8_000, "mean": 301.2} for part in ("train", "validation", "test")}
    found = Verdict(
        0,
        0,
        None,
        0.0,
        "r2",
        0.52,
        (0.49, 0.55),
        (0.11, 0.08, 0.13),
        "by `orders in 12 months` alone",
        True,
        True,
        test_rows=8_000,
        rarest=8_000,
    )
    return Target(
        name, "regression", "What is spent in the 12 months after the cutoff", "12 months", (), rates, {}, "r2", models("r2", 0.0, 0.52), found, [], None, None,
        None, groups("r2", 0.5), drivers(), "xgboost: TreeSHAP", [replace(e, score=420.5, label=388.0) for e in examples(False)], residuals=residuals, list_file=f"{name}.csv",
    )  # fmt: skip


def data() -> Data:
    names = NAMES
    rng = np.random.default_rng(1)
    correlation = np.corrcoef(rng.normal(size=(5, 12)) + rng.normal(size=12))
    labels = [f"{20 * i} to {20 * i + 20}" for i in range(8)]
    shapes = [
        (np.exp(-0.5 * ((np.arange(8) - c) / 1.6) ** 2), np.exp(-0.5 * ((np.arange(8) - c - 2) / 2) ** 2))
        for c in (1, 3, 2, 4, 0)
    ]
    return Data(
        [{"name": "clients", "rows_read": 61_240, "rows_kept": 61_237, "rejected": {"key is missing": 3}},
         {"name": "orders", "rows_read": 402_118, "rows_kept": 401_990, "rejected": {"amount is not above 0": 101, "date is no date": 27}}],
        ["table `clients` has no clock: its rows are taken as known at every cutoff"],
        {"train": 41_000, "validation": 6_510, "test": 18_000, "unused": 0},
        [{"cutoff": f"{y}-01-01T00:00:00", "part": p, "rows": n} for y, p, n in ((2021, "train", 20_400), (2022, "train", 20_600), (2023, "validation", 6_510), (2023, "test", 9_000), (2024, "test", 9_000))],
        [Drift(name, 0.31 / (i + 1), {"train": 0.02 * i, "validation": 0.02 * i, "test": 0.024 * i}) for i, name in enumerate(names)],
        [{"kind": "single column", "feature": "orders.f0", "target": "orders_again", "text": "`orders.f0` alone predicts `orders_again` with an AUC of 0.957: is it known at the cutoff?", "value": 0.957, "answer": None},
         {"kind": "missing", "feature": "orders.f3", "target": None, "text": "`orders.f3` is missing for 96 % of yes", "value": 0.9, "answer": "known gap of 2022"}],
        {"clients.title": "constant"}, names, correlation,
        [Distribution(name, "orders_again", labels, {"yes": (a / a.sum()).tolist(), "no": (b / b.sum()).tolist()}) for name, (a, b) in zip(names, shapes, strict=True)],
    )  # fmt: skip


def ranked(rows: int = 5_000) -> bytes:
    lines = [
        f"{i + 1},K{i:06},2024-01-01,{0.99 - i / rows:.6f},{i * 10 // rows + 1},yes" for i in range(rows)
    ]
    return ("\n".join(["rank,entity,cutoff,probability,decile,act", *lines]) + "\n").encode()


def evidence(*targets: Target, **changes: Any) -> Evidence:
    """A whole run's evidence; one binary target with money unless others are given."""
    shown = list(targets) or [binary()]
    k = len(shown)
    square = np.full((k, k), 0.3) + 0.7 * np.eye(k)
    overlap = Overlap([t.name for t in shown], square, square * 0.9 + 0.1, square) if k > 1 else None
    card = {
        "intended use": "Rank clients for the yearly round of calls.", "cohort": "every client with an order in the 24 months before 1 January",
        "limits": ["Figures hold for clients like those of 2021 to 2024.", "Ranks say who is likelier, not who is persuaded by a call."],
        "how to score": "python -m toolkit score bundle=outputs/orders/2026-01-01/bundle out=scores.csv",
        "seeds": {"run": 0}, "environment": {"python": "3.11.7", "libraries": {"numpy": "2.4.6", "lightgbm": "4.7.0"}},
        "fingerprints": {"clients": "2e5eb38cbba9b515", "orders": "e350350619dcc0c0"},
    }  # fmt: skip
    whole = Evidence(
        "orders_again", "Which clients order again in the coming year?", "2026-01-01T09:30:00+00:00",
        {"reading tables": 2.3, "training and evaluation": 165.7, "total": 169.5}, shown, overlap, data(), card,
        "name: orders_again\nseed: 0\n", {"recipe": "orders_again"}, {t.list_file: ranked() for t in shown if t.list_file},
        [{"fold": f"202{i}-01-01T00:00:00", "target": shown[0].name, "model": m, "chosen": m == "lightgbm", "metric": shown[0].headline, "value": 0.77 - 0.01 * i, "interval_95": {shown[0].headline: (0.74, 0.79)}}
         for i in (1, 2) for m in ("rule", "lightgbm")],
        {}, [Tuned("lightgbm", "roc_auc", [{"number": i, "state": "complete", "value": 0.7 + 0.08 * (1 - math.exp(-i / 9)) - 0.02 * (i % 4 == 1), "settings": {"num_leaves": 31}} for i in range(30)], {"num_leaves": 0.61, "learning_rate": 0.39})],
    )  # fmt: skip
    return replace(whole, **changes)


def bare(kind: str = "binary") -> Evidence:
    """Everything empty: no labels in the test, no features worth a word, no lists."""
    line = ModelLine("logistic", True, False, None, {}, {}, None, NAN, [])
    target = Target(
        "t",
        kind,
        "",
        "",
        (),
        {},
        {},
        {"binary": "roc_auc", "multiclass": "macro_auc", "regression": "r2"}[kind],
        [line],
        None,
        [],
        None,
        None,
        None,
        [],
        [],
        "",
        [],
    )
    nothing = Data([], [], {}, [], [], [], {}, [], np.zeros((0, 0)), [])
    return Evidence("", "", "", {}, [target], None, nothing, {}, "", {}, {})


def degenerate() -> Evidence:
    """Numbers that are none, curves of one point, a single class, a test without a yes."""
    nan = np.array([NAN])
    curve = Gains(np.array([0.0, 10.0]), np.zeros(2), np.full(2, NAN), np.full(2, NAN), np.array([]), 10, 0)
    target = replace(
        binary(), verdict=Verdict(5, 0, None, 0.0, "roc_auc", NAN, None, None, "", None, None),
        gains=curve, deciles=[Decile(1, 1, 0, NAN, NAN, NAN, NAN, None)], calibration=Calibration("identity", "", [], [Bin(NAN, NAN, NAN, NAN, 0)], {}, {"brier": NAN}),
        cut=Cut(nan, nan, nan, nan, nan, NAN, ""), groups=[{"by": "region", "withheld": "9,000 values; a segment has at most 200"}],
        models=[ModelLine("logistic", True, False, NAN, {"roc_auc": NAN}, {"roc_auc": (NAN, NAN)}, (NAN, NAN, NAN), NAN, [])],
        drivers=[Driver("f", "", NAN, None)], examples=[Example("e", "NaT", NAN, NAN, None, 1, [Reason("f", "", NAN)])],
    )  # fmt: skip
    flat = replace(
        data(),
        drift=[Drift("f", NAN, {})],
        distributions=[Distribution("f", "t", [], {})],
        correlated=["f"],
        correlation=np.array([[NAN]]),
    )
    return evidence(
        target,
        data=flat,
        metrics={"x": NAN},
        tuned=[Tuned("m", "roc_auc", [{"number": 0, "state": "fail", "value": None, "settings": {}}], {})],
        backtest=[],
    )
