"""The provider `openai`: one request to an OpenAI-compatible API, and what its failure means for the next.

The official client does the talking. Its own retries are off: ours are counted, capped and kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from toolkit.actions.enrichment.prompts import Message
from toolkit.actions.enrichment.replies import Reply, schema
from toolkit.actions.enrichment.text import cut, one_line
from toolkit.config.enrichment import Rows

CONNECT = 10.0  # seconds
OFFICIAL = "https://api.openai.com/v1"
BUSY, REFUSED = (408, 409, 425, 429), (401, 403, 404)
GATEWAY = (502, 504)  # what stands behind it may have answered, and charged


@dataclass(frozen=True)
class Key:
    """A provider's key, and where it was found; never printed."""

    value: str
    origin: str

    def __repr__(self) -> str:
        return f"Key(origin={self.origin!r})"


def find_key(variable: str, folder: Path | None = None) -> Key | None:
    """The key from the environment, otherwise from `.env` in the working folder."""
    if value := os.environ.get(variable, "").strip():
        return Key(value, "the environment")
    value = dotenv((folder or Path.cwd()) / ".env").get(variable, "")
    return Key(value, ".env") if value else None


def dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a file, with or without `export` and quotes; {} if there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found = {}
    for line in lines:
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not sign or name.startswith("#"):
            continue
        if value[:1] in ("'", '"') and value.find(value[0], 1) > 0:
            value = value[1 : value.find(value[0], 1)]
        else:
            value = value.split(" #")[0].strip()
        found[name] = value
    return found


def address(node: Rows) -> str:
    """Where requests go."""
    return node.base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or OFFICIAL


class FaultError(Exception):
    """A request without a reply.

    kind: one word for counting; after: seconds that the service asks to wait; again: the same request
    may succeed later; hopeless: no request of this job will; free: the service says that it did nothing.
    """

    def __init__(
        self, kind: str, text: str, *, after: float | None = None, again: bool = True,
        hopeless: bool = False, free: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.kind, self.text, self.after = kind, text, after
        self.again, self.hopeless, self.free = again and not hopeless, hopeless, free


class Service:
    """An open client. `ask` may be called many times at once."""

    def __init__(self, node: Rows, key: str) -> None:
        import openai

        self.node, self.key, self.openai = node, key, openai
        timeout = openai.Timeout(node.timeout, connect=min(CONNECT, node.timeout))
        self.client = openai.AsyncOpenAI(api_key=key, base_url=address(node), max_retries=0, timeout=timeout)
        # OpenAI's newer models know only the newer name, many compatible servers only the older one.
        length = "max_completion_tokens" if address(node).startswith(OFFICIAL) else "max_tokens"
        self.settings: dict[str, Any] = {length: node.max_output_tokens}
        if node.temperature is not None:
            self.settings["temperature"] = node.temperature
        shape = {"name": node.prompt[:64], "strict": True, "schema": schema(node)}
        self.settings["response_format"] = {"type": "json_schema", "json_schema": shape}

    async def ask(self, messages: list[Message]) -> Reply:
        """One request, one reply. Raises FaultError; how long it may take is the caller's to limit."""
        openai = self.openai
        try:
            raw = await self.client.chat.completions.with_raw_response.create(
                model=self.node.model, messages=messages, **self.settings  # type: ignore[arg-type]
            )  # fmt: skip
            body = raw.http_response.text
        except openai.APITimeoutError:
            raise FaultError("timeout", "no answer in time") from None
        except openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__
            raise FaultError(
                "connection", f"no connection, or a broken one ({cause})", free=cause == "ConnectError"
            ) from None
        except openai.APIStatusError as error:
            raise self._of_status(error) from None
        except (openai.OpenAIError, ValueError) as error:
            raise FaultError(
                "broken reply", f"a reply that cannot be read ({type(error).__name__})"
            ) from None
        except Exception as error:
            if not type(error).__module__.startswith("httpx"):  # what carries the client
                raise
            text = f"the address cannot be asked ({type(error).__name__})"
            raise FaultError("connection", text, hopeless=True, free=True) from None
        return read(body)

    def _of_status(self, error: Any) -> FaultError:
        status, code = int(error.status_code), str(error.code or "")
        if status in REFUSED:  # its words are not repeated: they may quote the key
            hint = {
                401: "the key is not accepted",
                403: "the key may not do this",
                404: "no such model or address",
            }
            return FaultError(f"HTTP {status}", f"HTTP {status}: {hint[status]}", hopeless=True, free=True)
        text = f"HTTP {status}"
        body = error.body if isinstance(error.body, dict) else {}
        if said := one_line(str(body.get("message") or "").replace(self.key, "***")):
            text += f": {cut(said, 160)}"
        if code == "insufficient_quota":
            return FaultError("quota", text, hopeless=True, free=True)
        after = seconds_to_wait(error.response.headers)
        return FaultError(
            f"HTTP {status}",
            text,
            after=after,
            again=status in BUSY or status >= 500,
            free=status not in GATEWAY,
        )

    async def close(self) -> None:
        await self.client.close()


def read(body: str) -> Reply:
    """A reply out of the body of a response, whatever it holds. Raises FaultError if it is no completion."""
    try:
        found = json.loads(body)
        choices = found["choices"]
        usage = found.get("usage") or {}
        first = choices[0] if choices else {}
        message = first.get("message") or {}
        return Reply(
            _text(message.get("content")), _text(message.get("refusal")),
            _text(first.get("finish_reason")) or "", _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IndexError):
        raise FaultError("broken reply", "a reply that is no completion") from None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def seconds_to_wait(headers: Any, now: datetime | None = None) -> float | None:
    """What `Retry-After` (seconds or a date, RFC 9110) or `retry-after-ms` ask for; None if nothing usable."""
    try:
        if text := headers.get("retry-after-ms"):
            return max(float(text) / 1_000, 0.0)
        text = headers.get("retry-after", "").strip()
        if not text:
            return None
        if text.replace(".", "", 1).isdigit():
            return float(text)
        return max((parsedate_to_datetime(text) - (now or datetime.now(UTC))).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
