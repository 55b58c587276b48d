"""What a reply must be: exactly the declared fields, each within its vocabulary or length, for the row asked about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from toolkit.actions.enrichment.text import LINK, one_line
from toolkit.config.enrichment import ROW, Choice, Rows

LARGEST = 64_000  # characters of a reply that are looked at


@dataclass(frozen=True)
class Reply:
    """What a service answered, before anyone trusts it. finish: why it ended; tokens: None if it did not say."""

    content: str | None
    refusal: str | None
    finish: str
    tokens_in: int | None
    tokens_out: int | None


class InvalidReplyError(Exception):
    """kind: one word for counting; text: what is wrong, in words that a model and a reader understand."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


def schema(node: Rows) -> dict[str, Any]:
    """The JSON Schema that structured outputs are asked for with.

    Strict mode knows no lengths of texts, so these are told in words, and checked by `values`.
    """
    properties: dict[str, Any] = {ROW: {"type": "string", "description": "the row's token, unchanged"}}
    for name, output in node.output.items():
        if isinstance(output, Choice):
            properties[name] = {"type": "string", "enum": list(output.values)}
        else:
            about = f"{output.description} At most {output.at_most} characters.".strip()
            properties[name] = {"type": "string", "description": about}
    return {"type": "object", "properties": properties, "required": list(properties),
            "additionalProperties": False}  # fmt: skip


def values(reply: Reply, row: str, node: Rows) -> dict[str, str]:
    """Output → value of a valid reply. Raises InvalidReplyError saying what is wrong with any other."""
    if reply.refusal:
        raise InvalidReplyError("refusal", "the model refused")
    if reply.finish == "length":
        raise InvalidReplyError("cut off", "it was cut off; be shorter")
    if reply.finish == "content_filter":
        raise InvalidReplyError("filtered", "the provider's filter withheld it")
    if not reply.content:
        raise InvalidReplyError("empty", "it was empty")
    found = _object(reply.content)
    wanted = [ROW, *node.output]
    if set(found) != set(wanted):
        missing = ", ".join(name for name in wanted if name not in found)
        much = ", ".join(one_line(name)[:40] for name in found if name not in wanted)[:200]
        text = "; ".join(
            [f"it lacks {missing}"] * bool(missing) + [f"it has keys beyond the schema: {much}"] * bool(much)
        )
        raise InvalidReplyError("keys", text)
    if found[ROW] != row:
        raise InvalidReplyError("another row", f"`{ROW}` must be `{row}`")
    return {name: _value(name, found[name], node) for name in node.output}


def _object(content: str) -> dict[str, Any]:
    if len(content) > LARGEST:
        raise InvalidReplyError("too long", "it was far too long")
    try:
        found = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise InvalidReplyError("not JSON", "it was not one JSON object") from None
    if not isinstance(found, dict):
        raise InvalidReplyError("not JSON", "it was not one JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidReplyError("keys", "it had a key twice")
    return found


def _value(name: str, value: Any, node: Rows) -> str:
    output = node.output[name]
    if not isinstance(value, str):
        raise InvalidReplyError("not text", f"`{name}` must be a text")
    if isinstance(output, Choice):
        if value not in output.values:
            raise InvalidReplyError("vocabulary", f"`{name}` must be one of: {', '.join(output.values)}")
        return value
    text = one_line(value)
    if not text:
        raise InvalidReplyError("empty text", f"`{name}` must not be empty")
    if len(text) > output.at_most:
        raise InvalidReplyError(
            "too long", f"`{name}` has {len(text)} characters, at most {output.at_most} are allowed"
        )
    if not output.links and LINK.search(text):
        raise InvalidReplyError("link", f"`{name}` must hold no links or addresses")
    return text
