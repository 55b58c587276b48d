"""Configuration of feature sets that read a calendar: parts of a date, and days off."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from toolkit.config.node import Node

Part = Literal["month", "quarter", "year", "weekday", "day", "week", "dayofyear", "hour"]
HolidayPart = Literal["is_holiday", "days_to_holiday", "days_since_holiday"]
HOLIDAY_PARTS: tuple[str, ...] = get_args(HolidayPart)


class Calendar(Node):
    """Calendar parts of the cutoff, or of a date column."""

    kind: Literal["calendar"]
    description: str = ""
    of: str = Field("cutoff", description="`cutoff`, or a date column of the entity table, or of `table`")
    table: str | None = Field(
        None, description="table of the date column; of a table with a clock the latest row counts"
    )
    parts: list[Part | HolidayPart | Literal["days_until_cutoff", "years_until_cutoff"]] = Field(min_length=1)
    holidays: list[str] = Field(
        [],
        description="days off, as 2024-12-25: all of each year that one of them lies in. Cutoffs of other years "
        "are refused",
    )

    @field_validator("holidays", mode="before")
    @classmethod
    def as_text(cls, value: Any) -> Any:
        return [str(item) for item in value] if isinstance(value, list | tuple) else value

    @field_validator("holidays")
    @classmethod
    def are_days(cls, value: list[str]) -> list[str]:
        for text in value:
            try:
                date.fromisoformat(text)
            except ValueError:
                raise ValueError(f"`{text}` in `holidays` is not a day; write it as 2024-12-25") from None
        return sorted(set(value))

    @model_validator(mode="after")
    def parts_have_what_they_need(self) -> Calendar:
        asked = [part for part in self.parts if part in HOLIDAY_PARTS]
        if asked and not self.holidays:
            raise ValueError(f"`{asked[0]}` needs `holidays`: the list of days, for example [2024-12-25]")
        if self.holidays and not asked:
            raise ValueError(f"`holidays` go with the parts {', '.join(HOLIDAY_PARTS)}")
        if self.table and self.of == "cutoff":
            raise ValueError("`table` goes with a date column: name it in `of`")
        return self
