"""Text that crosses the border to a model, or comes back from one: one line, nothing invisible in it."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date, datetime
from typing import Any

LONGEST = 300  # characters of a cell that enter a prompt
# Characters that are not seen but can carry orders or turn text around: control and format characters
# (bidirectional marks, zero widths, the "tag" letters), surrogates, the second set of variation selectors.
JOINERS = "\u200c\u200d"  # some scripts and emoji need them
SELECTORS = re.compile("[\U000e0100-\U000e01ef]")
# What mail programs turn into links: an address, a name with a path or a port (whatever its end), a bare name
# whose end is one of the common ones or of a country (all have two letters). `e.g.`, `3.5` and `Node.js` are none.
DOT = r"(?:\.|(?<=[a-z0-9])[\u3002\uff0e\uff61])"  # browsers read the full stops of East Asia as dots
ENDS = (
    "com|net|org|edu|gov|mil|int|info|biz|name|pro|mobi|xyz|top|link|app|dev|page|site|online|shop|store|club|live"
    "|click|tech|space|website|cloud|email|agency|digital|media|news|blog|world|life|today|fun|icu|vip|loan|bid"
    "|web|host|zone|zip|mov|group|team|company|xn--[a-z0-9-]+"
)
LINK = re.compile(
    r"https?:|www\.|://|\S@\S+\.\w"
    rf"|\b[\w-]+{DOT}(?:xn--[a-z0-9-]+|[^\W\d_]{{2,}})(?:/\w|:\d)"
    rf"|\b[\w-]+{DOT}(?:{ENDS}|(?!js\b)[a-z]{{2}})\b"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b",
    re.I,
)


def one_line(text: str) -> str:
    """The text without line breaks, control and invisible characters; composed (NFC), blanks collapsed."""
    kept = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp")
        else "" if unicodedata.category(c) in ("Cf", "Cs", "Co", "Cn") and c not in JOINERS
        else c
        for c in SELECTORS.sub("", text)
    )  # fmt: skip
    return " ".join(unicodedata.normalize("NFC", kept).split())


def cell(value: Any) -> Any:
    """A cell as a prompt shows it: texts cleaned and cut, numbers to four digits, NaN as missing."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes").removesuffix(" 00:00")
    if isinstance(value, date):
        return value.isoformat()
    return cut(one_line(str(value)), LONGEST)


def cut(text: str, at_most: int) -> str:
    """At most so many characters, ended at a word if that costs little."""
    if len(text) <= at_most:
        return text
    head = text[: at_most - 1]
    blank = head.rfind(" ")
    return (head[:blank] if blank > 0.6 * at_most else head).rstrip(" ,;:–-") + "…"


def shown(value: Any) -> str:
    """A cell inside a sentence."""
    value = cell(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) or abs(value) >= 1_000 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
