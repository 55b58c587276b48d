"""Short messages as people of a software community write them, put together from pieces."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Array = np.ndarray

OPENERS = (
    "hey,",
    "so",
    "hm,",
    "ok",
    "just saw",
    "fyi",
    "back again:",
    "update:",
    "well,",
    "hi all,",
    "",
    "",
    "",
    "",
    "",
    "",
)
SUBJECTS = (
    "the new release", "the docs", "this thread", "the search", "the weekly call", "the import", "the mobile app",
    "the last update", "the plugin", "the onboarding", "the export", "the dashboard", "the theme", "the API",
    "the roadmap", "the moderation", "the sign-in", "the calendar", "the beta", "the support team",
)  # fmt: skip
LINKS = (
    "is",
    "looks",
    "feels",
    "was",
    "seems",
    "is really",
    "is so",
    "still feels",
    "is pretty",
    "is kind of",
)
GOOD = (
    "great", "awesome", "good", "nice", "helpful", "fantastic", "brilliant", "smooth", "amazing", "excellent", "lovely",
    "useful", "solid", "perfect", "fun", "clear", "fast", "impressive", "neat", "chef's kiss", "on point", "top notch",
)  # fmt: skip
BAD = (
    "terrible", "broken", "annoying", "bad", "slow", "awful", "frustrating", "useless", "confusing", "horrible", "sad",
    "disappointing", "buggy", "messy", "ugly", "painful", "boring", "poor", "a dumpster fire", "meh", "half baked", "rough",
)  # fmt: skip
GOOD_TAILS = (
    "thanks everyone", "love it", "well done", "happy with that", "keep it up", "this made my day", "glad I asked",
    "thank you!", "works for me now", "", "", "", "", "", "", "", "",
)  # fmt: skip
BAD_TAILS = (
    "I hate this", "not again", "what a waste of time", "I give up", "this is a problem", "fix it please",
    "I am tired of it", "nobody answers", "crashed again", "", "", "", "", "", "", "", "",
)  # fmt: skip
PLAIN = (
    "has anyone tried it on Linux?", "see you on Thursday", "I will be away next week", "which channel is this for?",
    "the link is in the pinned post", "version 4.2 is out", "can someone share the notes?", "who is on call today?",
    "I moved it to the backlog", "same here", "the meeting starts at 10", "is there a transcript?", "let me check",
    "I opened a ticket", "here is the screenshot", "what does the log say?", "done", "ok", "we use it at work",
    "two of us are joining", "the recording is up", "which time zone?", "I am new here", "see above",
    "moved to #help", "does it need a restart?", "we are on the old plan", "my guess is the cache", "brb", "here it is",
)  # fmt: skip
DENIALS = ("not", "not really", "never", "no longer", "hardly", "not that")
GOOD_SIGNS = ("🎉", "😀", "❤️", "👍", "🙌", ":)", ":-)", "😍")
BAD_SIGNS = ("😡", "👎", "😞", "💔", "🙄", ":(", ":-(", "😭")
NEGATED, SIGNED, SARCASTIC, WITHOUT = 0.125, 0.2, 0.04, 0.03


def write(tone: Array, rng: np.random.Generator) -> pa.Array:
    """Texts [messages] for tones [messages] of 1, 0 and -1; null where there is none."""
    size = len(tone)
    said = np.where(rng.random(size) < SARCASTIC, -tone, tone)
    good = said > 0
    negated = rng.random(size) < NEGATED
    word = _pick(GOOD, good ^ negated, BAD, rng)
    denial = _some(DENIALS, negated, rng)
    tail = _pick(GOOD_TAILS, good, BAD_TAILS, rng)
    sign = _pick(GOOD_SIGNS, good, BAD_SIGNS, rng)
    sign = pc.if_else(pa.array(rng.random(size) < SIGNED), sign, "")
    opener, subject, link = (_some(part, None, rng, size) for part in (OPENERS, SUBJECTS, LINKS))
    toned = _join(opener, subject, link, denial, word, tail, sign)
    plain = _join(_some(OPENERS, None, rng, size), _some(PLAIN, None, rng, size))
    text = pc.if_else(pa.array(tone != 0), toned, plain)
    return pc.if_else(pa.array(rng.random(size) < WITHOUT), pa.scalar(None, pa.string()), text)


def _some(pieces: tuple[str, ...], where: Array | None, rng: np.random.Generator, size: int = 0) -> pa.Array:
    """A piece for each message; nothing outside `where`."""
    found = pa.array(pieces).take(
        pa.array(rng.integers(0, len(pieces), size if where is None else len(where)))
    )
    return found if where is None else pc.if_else(pa.array(where), found, "")


def _pick(one: tuple[str, ...], where: Array, other: tuple[str, ...], rng: np.random.Generator) -> pa.Array:
    """A piece of one kind where the mask says so, else of the other."""
    return pc.if_else(pa.array(where), _some(one, None, rng, len(where)), _some(other, None, rng, len(where)))


def _join(*parts: pa.Array) -> pa.Array:
    text = pc.binary_join_element_wise(*parts, " ")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(text, pattern=" {2,}", replacement=" "))
