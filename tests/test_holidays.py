"""Days off as a declared list: parts of a calendar, of cutoffs and of planned dates; what is undeclared is refused."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from small import config

from toolkit.config.calendars import Calendar
from toolkit.errors import ConfigError
from toolkit.prepare import matrix as matrices
from toolkit.prepare.compiled import Declaration
from toolkit.workplace import workplace

DAYS = ["2022-12-26", "2023-01-02", "2023-05-29", "2023-07-04", "2023-12-25", "2024-01-01"]
PARTS = ["is_holiday", "days_to_holiday", "days_since_holiday"]


def columns(folder: Path, cutoffs: Any, features: dict[str, Any], zone: str = "UTC") -> pd.DataFrame:
    """The matrix of three people, each with two planned dates, at some cutoffs."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "people.csv").write_text("id,born\na,2000-07-04\nb,\nc,1999-02-03\n")
    (data / "plans.csv").write_text(
        "who,known,due\na,2023-05-01 10:00,2023-05-29 08:00\na,2023-05-20 10:00,2023-07-03 23:30\n"
        "b,2023-05-01 10:00,2023-12-25 00:00\nc,2023-06-20 10:00,2025-03-01 12:00\n"
    )
    (data / "events.csv").write_text("who,day\na,2022-12-26\nb,2024-02-01\n")
    declared = config(
        folder,
        dataset={"entity": "people", "tables": {
            "people": {"key": "id", "known": "always", "columns": {"id": "text", "born": "date"}},
            "plans": {"entity": "who", "clock": "known", "columns": {"who": "text", "known": "timestamp", "due": "timestamp"}},
            "events": {"entity": "who", "clock": "day", "columns": {"who": "text", "day": "date"}},
        }},
        cohort={"cutoffs": cutoffs, "timezone": zone},
        target={"y": {"kind": "event_within", "table": "events", "horizon": "1 week"}},
        features=features, split={"kind": "random"},
    )  # fmt: skip
    with workplace(declared, lambda stage, share: None) as work:
        parts = Declaration(declared.dataset, declared.cohort, declared.target, declared.features)
        tables = matrices.load_tables(parts, declared.source, work.engine, work.cache)
        matrix = matrices.build(
            matrices.compile_all(parts, tables, work.engine, work.cache), work.engine, work.cache
        )
    return pd.DataFrame({"who": matrix.entity, "cutoff": matrix.cutoff, **matrix.columns})


def by_hand(day: date) -> tuple[float, float, float]:
    """Is it a holiday, days to the next, days since the last."""
    days = [date.fromisoformat(one) for one in DAYS]
    ahead, back = (
        min(sign * (one - day).days for one in days if sign * (one - day).days >= 0) for sign in (1, -1)
    )
    return float(day in days), float(ahead), float(back)


def test_of_every_cutoff_as_by_hand(tmp_path: Path) -> None:
    cutoffs = [str(date(2023, 1, 1) + timedelta(days=7 * n)) for n in range(52)] + [
        "2023-07-04",
        "2023-05-29",
    ]
    found = columns(tmp_path, cutoffs, {"c": {"kind": "calendar", "parts": PARTS, "holidays": DAYS}})
    assert len(found) == 3 * len(cutoffs)
    for _, row in found.iterrows():
        assert tuple(row[f"c.cutoff_{part}"] for part in PARTS) == by_hand(row["cutoff"].date()), row[
            "cutoff"
        ]
    assert found["c.cutoff_is_holiday"].sum() == 3 * 2


def test_of_the_newest_plan_known_at_the_cutoff_in_the_zone_of_the_cohort(tmp_path: Path) -> None:
    node = {
        "kind": "calendar",
        "table": "plans",
        "of": "due",
        "parts": [*PARTS, "weekday", "hour"],
        "holidays": DAYS,
    }
    found = columns(tmp_path, ["2023-05-10", "2023-06-01"], {"c": node}, zone="Europe/Berlin")
    first, second = (found[found["who"] == "a"].set_index("cutoff").sort_index().iloc[n] for n in (0, 1))
    assert (first["c.due_is_holiday"], first["c.due_weekday"], first["c.due_hour"]) == (1, 1, 10)
    # half past eleven at night in UTC is the fourth of July already
    assert (second["c.due_is_holiday"], second["c.due_days_to_holiday"], second["c.due_hour"]) == (1, 0, 1)
    assert found.loc[found["who"] == "c", "c.due_hour"].isna().all()  # planned later than both cutoffs


def test_a_date_of_an_undeclared_year_is_missing(tmp_path: Path) -> None:
    node = {"kind": "calendar", "of": "born", "parts": ["is_holiday", "month"], "holidays": DAYS}
    found = columns(tmp_path, ["2023-05-10"], {"c": node})
    assert found["c.born_is_holiday"].isna().all()
    assert found["c.born_month"].tolist()[0] == 7
    assert np.isnan(found["c.born_month"].tolist()[1])


def test_cutoffs_of_another_year_are_refused_with_the_years_that_there_are(tmp_path: Path) -> None:
    node = {"kind": "calendar", "parts": ["is_holiday"], "holidays": [d for d in DAYS if d < "2024"]}
    with pytest.raises(ConfigError) as refused:
        columns(tmp_path, ["2023-05-10", "2024-01-10"], {"c": node})
    text = str(refused.value)
    assert "the cutoff 2024-01-10 lies in a year of which no holiday is declared" in text
    assert "features.c.holidays" in text
    assert "2022, 2023" in text
    assert "add the holidays of 2024" in text


def test_so_is_a_cutoff_after_the_last_holiday_if_days_to_the_next_are_asked_for(tmp_path: Path) -> None:
    node = {"kind": "calendar", "parts": ["is_holiday"], "holidays": DAYS}
    columns(tmp_path, ["2024-01-10"], {"c": node})
    with pytest.raises(ConfigError, match="no holiday after the cutoff 2024-01-10 is declared"):
        columns(tmp_path, ["2024-01-10"], {"c": node | {"parts": ["days_to_holiday"]}})


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"parts": ["is_holiday"]}, "needs `holidays`"),
        ({"parts": ["month"], "holidays": DAYS}, "`holidays` go with the parts"),
        ({"parts": ["is_holiday"], "holidays": ["25.12.2023"]}, "is not a day"),
        ({"parts": ["month"], "table": "plans"}, "name it in `of`"),
        ({"parts": ["is_holyday"], "holidays": DAYS}, "is_holiday"),
    ],
)
def test_declarations_that_cannot_be(node: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Calendar.model_validate({"kind": "calendar"} | node)
