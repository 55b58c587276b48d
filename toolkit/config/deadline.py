"""Deadlines as YAML writes them, `2 days`, `1 week`, `3 business days`, and the day that they come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from toolkit.config.time import span

BUSINESS = re.compile(r"^\s*(\d{1,4})\s*business\s+days?\s*$", re.IGNORECASE)


def _checked(text: str) -> str:
    if BUSINESS.match(text):
        return text
    if span(text).unit == "hour":
        raise ValueError(f"`{text}`: a deadline is a day; write for example 1 day or 2 business days")
    return text


DeadlineText = Annotated[
    str, AfterValidator(_checked), WithJsonSchema({"type": "string", "pattern": r"^\s*\d+\s*[a-zA-Z ]+$"})
]


def due(text: str, start: date, holidays: Sequence[date] = ()) -> date:
    """The day that a deadline comes to, counted from the day `start`.

    Business days are Monday to Friday without the holidays, each counted after `start`: two after a Friday, or
    after the Saturday or Sunday that follow it, are Tuesday. Other spans follow the calendar, weekends and all.
    """
    if found := BUSINESS.match(text):
        import numpy as np

        day = np.busday_offset(
            np.datetime64(start), int(found[1]), roll="backward", holidays=np.array(holidays, "datetime64[D]")
        )
        return day.astype(date)
    return span(text).after(datetime.combine(start, time())).date()
