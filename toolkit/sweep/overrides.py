"""The words that set jobs apart."""

from __future__ import annotations

from collections.abc import Sequence


def key_of(override: str) -> str:
    """`model` of `model=lightgbm`, `vars.x` of `+vars.x=1`."""
    return override.partition("=")[0].lstrip("+~")


def value_of(overrides: Sequence[str], key: str) -> str | None:
    """What the overrides set a key to, None if they do not. Of repeated ones the last one counts, as in Hydra."""
    return next((word.partition("=")[2] for word in reversed(overrides) if key_of(word) == key), None)


def swept(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Keys whose override is not the same in all jobs, in the order of the command line."""
    every = [{key_of(word): word for word in job} for job in jobs]
    keys = dict.fromkeys(key for job in every for key in job)
    return [key for key in keys if len({job.get(key) for job in every}) > 1]


def numbered(jobs: Sequence[Sequence[str]]) -> dict[str, int]:
    """Word → which one of its key's different words it is, from 1: it tells apart what a mask makes equal."""
    words: dict[str, dict[str, None]] = {}
    for job in jobs:
        for word in job:
            words.setdefault(key_of(word), {})[word] = None
    return {word: n for several in words.values() if len(several) > 1 for n, word in enumerate(several, 1)}
