"""What is written beside each row of a ranked list: which fields a prompt may see, and what may come back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.config.node import Node
from toolkit.errors import did_you_mean

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
BY, NOTE = "enriched_by", "enriched_note"
ROW, DATA, OUTPUT = "row", "data", "output"  # what a prompt may name besides its fields
RESERVED = (BY, NOTE, ROW, DATA, OUTPUT)


class NoEnrichment(Node):
    """Lists stay as they are."""

    kind: Literal["none"] = "none"


class Rule(Node):
    """What the provider `template` writes where a condition holds."""

    when: str = Field(description="SQL condition over the fields, and the outputs declared before this one")
    value: str = Field(description="a value of the vocabulary; of a text: a pattern such as `For {company}`")


class _Output(Node):
    description: str = Field("", description="told to the model")
    rules: list[Rule] = Field([], description="for the provider `template`; the first that holds counts")
    otherwise: str = Field(description="for the provider `template`, where no rule holds")

    def patterns(self) -> list[tuple[str, str]]:
        """(key, value) of all that the rules may write."""
        return [*((f"rules.{i}.value", rule.value) for i, rule in enumerate(self.rules)),
                ("otherwise", self.otherwise)]  # fmt: skip


class Choice(_Output):
    """One value of a closed vocabulary."""

    kind: Literal["choice"]
    values: dict[str, str] = Field(min_length=2, description="value → what it means")

    @model_validator(mode="after")
    def rules_keep_to_the_vocabulary(self) -> Choice:
        for key, value in self.patterns():
            if value not in self.values:
                raise ValueError(
                    f"`{key}: {value}` is not one of `values`; {did_you_mean(value, self.values)}"
                )
        return self


class Text(_Output):
    """One line of text."""

    kind: Literal["text"]
    at_most: int = Field(ge=10, le=2_000, description="characters; a longer reply is not accepted")
    links: bool = Field(False, description="accept addresses of web pages and mail in it")


Output = Annotated[Choice | Text, Field(discriminator="kind")]


class Prices(Node):
    """What a provider asks for a million tokens, in any one currency; 0: unknown."""

    input: float = Field(0, ge=0, allow_inf_nan=False)
    output: float = Field(0, ge=0, allow_inf_nan=False)


class Rows(Node):
    """Each of the best rows of a ranked list gets fields that a language model, or rules, write.

    One request per row. Every reply is kept, so that nothing is paid for twice, however a run ends.
    """

    kind: Literal["rows"]
    target: str | None = Field(None, description="whose list; default: the first target's")
    top: int = Field(100, ge=1, le=100_000, description="rows, from the top of the list")
    suffix: str = Field("enriched", pattern=r"^\w+$", description="the file is <list>_<suffix>.csv")
    provider: Literal["auto", "openai", "template"] = Field(
        "auto", description="auto: openai if there is a key, otherwise template; template: rules, offline"
    )
    model: str = Field("gpt-4o-mini", min_length=1, description="name of the model, as the provider has it")
    base_url: str = Field(
        "", description="of an OpenAI-compatible API; empty: OPENAI_BASE_URL, or OpenAI's own"
    )
    key_variable: str = Field(
        "OPENAI_API_KEY", pattern=NAME.pattern + "$",
        description="variable of the environment, or of `.env` in the working folder, that holds the key",
    )  # fmt: skip
    prompt: str = Field(
        pattern=r"^\w[\w-]*$", description="folder with system.txt and task.txt, in ./prompts or packaged"
    )
    fields: dict[str, str] = Field(
        min_length=1, description="name in the prompt → column of the list; nothing else enters a prompt"
    )
    output: dict[str, Output] = Field(min_length=1, description="column to write → what it may hold")
    temperature: float | None = Field(None, ge=0, le=2, description="null: the model's default")
    max_output_tokens: int = Field(500, ge=16, description="of one reply")
    parallel: int = Field(4, ge=1, le=64, description="requests at a time")
    timeout: float = Field(60, gt=0, le=3_600, description="seconds for one request, from first to last byte")
    retries: int = Field(6, ge=0, le=20, description="further tries where the service fails or is busy")
    backoff: float = Field(
        1, gt=0, description="seconds before the first retry; doubled each time, with jitter"
    )
    longest_wait: float = Field(
        60, gt=0, description="seconds that are waited at most, whatever Retry-After says"
    )
    max_requests: int = Field(2_000, ge=1, description="for one list, retries and resumed runs included")
    max_tokens: int = Field(5_000_000, ge=1, description="in and out, for one list")
    max_cost: float | None = Field(None, gt=0, description="for one list, in the currency of `prices`")
    prices: Prices = Field(Prices(), description="per million tokens")
    folder: str = Field("outputs/enrichment", description="where replies are kept")

    @field_validator("base_url")
    @classmethod
    def an_address(cls, value: str) -> str:
        if value and not re.match(r"https?://[^\s/]", value):
            raise ValueError("write an address such as http://localhost:8000/v1")
        return value

    @model_validator(mode="after")
    def names_are_names_and_differ(self) -> Rows:
        seen: dict[str, str] = {}
        for key, names in (("fields", self.fields), ("output", self.output)):
            for name in names:
                if not NAME.fullmatch(name):
                    raise ValueError(
                        f"`{key}.{name}`: a name has letters, digits and `_`, and begins with no digit"
                    )
                if name.lower() in RESERVED:
                    raise ValueError(f"`{key}.{name}`: this name is taken; taken are {', '.join(RESERVED)}")
                if name.lower() in seen:
                    raise ValueError(f"`{key}.{name}` and `{seen[name.lower()]}.{name}` share one name")
                seen[name.lower()] = key
        return self

    @model_validator(mode="after")
    def patterns_name_what_is_there(self) -> Rows:
        before: list[str] = [*self.fields]
        for name, output in self.output.items():
            if isinstance(output, Text):
                for key, pattern in output.patterns():
                    _known(pattern, before, f"output.{name}.{key}")
            before.append(name)
        return self

    @model_validator(mode="after")
    def a_cap_on_money_needs_prices(self) -> Rows:
        if self.max_cost is not None and not (self.prices.input and self.prices.output):
            raise ValueError("`max_cost` needs `prices: {input: …, output: …}`, per million tokens")
        return self


def _known(pattern: str, names: Iterable[str], where: str) -> None:
    for name in PLACEHOLDER.findall(pattern):
        if name not in names:
            raise ValueError(
                f"`{where}` uses `{{{name}}}`, which is no field and no output declared before; {did_you_mean(name, names)}"
            )


Enrichment = Annotated[NoEnrichment | Rows, Field(discriminator="kind")]
