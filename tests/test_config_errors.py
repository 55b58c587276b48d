"""A mistake in a declaration ends in one screen: key, file, line, what is wrong, the nearest valid name."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    model_validator,
)
from test_compose import seen, write  # noqa: F401  the fixture of an empty working folder

from toolkit.cli.main import main
from toolkit.config import jsonschema as schemas
from toolkit.config.check import looks_secret, mistakes, validate
from toolkit.config.compose import Composed
from toolkit.config.provenance import Provenance
from toolkit.config.schema import Split
from toolkit.config.time import span
from toolkit.errors import ConfigError
from toolkit.training.split import assign


class Node(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Event(Node):
    kind: Literal["event"]
    horizon: str = Field(description="a span such as 30d")
    at_least: int = Field(1, ge=1)


class Top(Node):
    kind: Literal["top"]
    fraction: float = Field(gt=0, lt=1)
    direction: Literal["highest", "lowest"] = "highest"


class Windows(Node):
    """Its kind is also the name of one of its keys: a trap for whoever reads error locations."""

    kind: Literal["windows"]
    windows: list[int | Literal["all"]]


class Bare(Node):
    kind: Literal["bare"]


class Count(Node):
    table: str


class Ratio(Node):
    terms: dict[str, Measure]


Measure = Annotated[
    Annotated[Count, Tag("count")] | Annotated[Ratio, Tag("ratio")],
    Discriminator(lambda v: "ratio" if "terms" in v else "count"),
]
Ratio.model_rebuild()


class Column(Node):
    type: Literal["text", "number"]
    ge: float | None = None

    @model_validator(mode="after")
    def fits(self) -> Column:
        if self.ge is not None and self.type == "text":
            raise ValueError("`ge` goes with number")
        return self


class Step(Node):
    every: str


class Root(Node):
    name: str = "x"
    password: int = 0
    seed: int = 0
    target: dict[str, Annotated[Event | Top, Field(discriminator="kind")]] = {}
    features: dict[str, Annotated[Windows | Bare, Field(discriminator="kind")]] = {}
    measure: Measure | None = None
    column: Annotated[Column, BeforeValidator(lambda v: {"type": v} if isinstance(v, str) else v)] | None = (
        None
    )
    cutoffs: list[str] | Step | None = None
    single: Event | Top | None = Field(None, discriminator="kind")
    ends: tuple[str, str] = ("a", "b")


def checked(tmp_path: Path, text: str) -> list[tuple[str, int | None, str, str]]:
    """(key, line, what, fix) of every mistake in a YAML text."""
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    plain = yaml.safe_load(text)
    try:
        Root.model_validate(plain)
    except ValueError as error:
        found = mistakes(Root, error, plain, Provenance.of_files([(file, ())]))  # type: ignore[arg-type]
        return [(m.key, int(m.where.rpartition(":")[2]), m.what, m.fix or "") for m in found]
    return []


@pytest.mark.parametrize(
    ("text", "key", "line", "what", "fix"),
    [
        ("seed: 1\ntargts: {}\n", "targts", 2, "unknown key `targts`", "did you mean `target`?"),
        (
            "target:\n  a:\n    kind: event\n    horizon: 1d\n    horizn: 2d\n",
            "target.a.horizn", 5, "unknown key `target.a.horizn`", "did you mean `horizon`?",
        ),
        ("target:\n  a:\n    kind: evnt\n", "target.a", 2, "unknown `kind`: `evnt`", "did you mean `event`?"),
        ("target:\n  a: {horizon: 1d}\n", "target.a", 2, "does not say its `kind`", "one of: event, top"),
        ("target:\n  a:\n    kind: event\n", "target.a.horizon", 2, "`target.a.horizon` is missing", "30d"),
        (
            "target:\n  a: {kind: top, fraction: 15}\n",
            "target.a.fraction", 2, "must be less than 1, not `15`", "",
        ),
        (
            "target:\n  a: {kind: top, fraction: 0.1, direction: highst}\n",
            "target.a.direction", 2, "must be `highest` or `lowest`, not `highst`", "did you mean `highest`?",
        ),
        ("seed: many\n", "seed", 1, "`seed` must be a whole number, not `many`", ""),
        ("seed: [1]\n", "seed", 1, "must be a whole number, not a list", ""),
        ("name: no\n", "name", 1, "must be text, not `false`", "put it in quotes"),
        ("name: 7\n", "name", 1, "must be text, not `7`", "put it in quotes"),
        ("target: []\n", "target", 1, "must be a mapping (`key: value` lines), not a list", ""),
        (
            "features:\n  w:\n    kind: windows\n    windows:\n    - 30\n    - most\n",
            "features.w.windows.1", 6, "must be a whole number or `all`, not `most`", "",
        ),
        ("measure: {terms: {a: {tabl: x, table: y}}}\n", "measure.terms.a.tabl", 1, "unknown key", "`table`"),
        ("column: {type: text, ge: 1}\n", "column", 1, "`column`: `ge` goes with number", ""),
        ("cutoffs: {evry: 1 month, every: 1 month}\n", "cutoffs.evry", 1, "unknown key", "`every`"),
        ("cutoffs: [2020-01-01x, 5]\n", "cutoffs.1", 1, "must be text, not `5`", "quotes"),
        ("cutoffs: monthly\n", "cutoffs", 1, "must be a list or a mapping (`key: value` lines)", ""),
        ("single: {kind: top, fraction: x}\n", "single.fraction", 1, "must be a number, not `x`", ""),
        ("ends: [a, 3]\n", "ends.1", 1, "must be text", ""),
    ],
)  # fmt: skip
def test_each_mistake_is_told_by_key_line_and_remedy(
    tmp_path: Path, text: str, key: str, line: int, what: str, fix: str
) -> None:
    found = checked(tmp_path, text)
    assert len(found) == 1, found
    assert found[0][:2] == (key, line)
    assert what in found[0][2]
    assert fix in found[0][3]


def test_a_right_declaration_passes(tmp_path: Path) -> None:
    plain = {
        "target": {"a": {"kind": "event", "horizon": "30d"}},
        "cutoffs": ["2020-01-01"],
        "column": "text",
    }
    config = validate(Root, plain, Provenance.of_files([]))
    assert isinstance(config.target["a"], Event)


def test_every_mistake_is_listed_up_to_twelve(tmp_path: Path) -> None:
    plain: dict[str, Any] = {f"wrong_{i}": i for i in range(15)}
    with pytest.raises(ConfigError) as caught:
        validate(Root, plain, Provenance.of_files([]))
    assert caught.value.what.startswith("15 mistakes")
    assert "wrong_11" in caught.value.what
    assert "wrong_12" not in caught.value.what
    assert "and 3 more" in caught.value.what


def test_secrets_are_not_echoed(tmp_path: Path) -> None:
    (mistake,) = checked(tmp_path, "password: hunter2\n")
    assert "hunter2" not in mistake[2]
    assert looks_secret(("seed",), "sk-abcdefgh12345678")
    assert looks_secret(("seed",), "postgres://user:pass@host/db")
    assert not looks_secret(("seed",), "a long sentence of plain words, with 12 of them")


@pytest.mark.parametrize(
    "key",
    ["vars.password", "vars.db_passwd", "vars.api_token", "vars.apiKey", "vars.OPENAI_API_KEY", "vars.tokens.0",
     "tracking.secret_key", "tracking.clientSecret", "credentials.user", "source.dsn", "vars.conn_str"],
)  # fmt: skip
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    assert looks_secret(tuple(key.split(".")), "x")


@pytest.mark.parametrize(
    "key",
    ["dataset.tables.login_tokens.path", "dataset.tables.login_tokens.columns.token", "features.tokens.table",
     "target.resets_password.horizon", "vars.key", "vars.keyword", "vars.token_file", "dataset.tables.rows.key"],
)  # fmt: skip
def test_a_name_that_merely_holds_such_a_word_does_not(key: str) -> None:
    assert not looks_secret(tuple(key.split(".")), "x")


@pytest.mark.parametrize(
    "value",
    ["postgres://u:p@host/db", "dbname=x password=y", "host=h passwd='a b'", "https://x/y?token=abcdef1234",
     "AccountKey=abcd1234efgh5678==", "sk-proj-abc123def456", "sk_live_51HxyzABC", "ghp_0123456789abcdef",
     "AKIAIOSFODNN7EXAMPLE", "xoxb-12345678-abc", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1",
     "d41d8cd98f00b204e9800998ecf8427e", "123e4567-e89b-12d3-a456-426614174000"],
)  # fmt: skip
def test_a_value_shaped_like_a_secret_is_hidden_whatever_its_key(value: str) -> None:
    assert looks_secret(("seed",), value)


@pytest.mark.parametrize(
    "value",
    ["data/2024/export_of_all_customers_v2", "/data/Exports2024/LoginTokens/tokens_2024-01-01_final",
     "skip_this_column_2", "relationship_aggregates_given_12mo_family", "customer_key=5",
     "token='x' and kind=3", "outputs/donors/multirun/2026-11-21_06-37-59/0"],
)  # fmt: skip
def test_paths_names_and_conditions_are_shown(value: str) -> None:
    assert not looks_secret(("seed",), value)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) < 12
    return err


@pytest.mark.usefixtures("seen")
class TestMistakesThatHydraFinds:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["recipe=shp"], ["no recipe is called `shp`", "line (recipe=shp)", "did you mean `shop`?"]),
            (["recipe=shop", "model=lightgbn"], ["`model` has no option called `lightgbn`", "`lightgbm`?"]),
            (["recipe=shop", "target=[buys,leves]"], ["called `leves`", "did you mean `leaves`?"]),
            (["recipe=shop", "modle=lightgbm"], ["no group or key `modle`", "did you mean `model`?"]),
            (["model.lightgbm.leafs=3"], ["`model.lightgbm.leafs`", "'+model.lightgbm.leafs=3'"]),
            (["recipe=shop", "seed=1,2"], ["`seed=1,2` names several values", "'seed=[1,2]'", "add -m"]),
            (["recipe=shop", "seed={1"], ["cannot read `seed={1`", "command line"]),
            (["recipe=../shop"], ["no recipe is called", "valid here: shop"]),
            (["plann", "recipe=shop"], ["no verb `plann`", "did you mean `plan`?"]),
            (["shop"], ["no verb `shop`", "write recipe=shop"]),
            (["recipe=shop", "--multrun"], ["--multrun", "did you mean `--multirun`?"]),
            (["recipe=shop", "--config-dir", "nowhere"], ["no folder `nowhere`"]),
            (["recipe=shop", "hydra.searchpath=[nowhere]"], ["no folder `nowhere`"]),
            (["recipe=shop", "name=${seeed}"], ["command line (name=${seeed})", "'seeed' not found"]),
            (["cache=${seeed}"], ["`cache`", "command line (cache=${seeed})", "'seeed' not found"]),
            (["recipe=shop", "name=???"], ["name"]),
            (["-m", "recipe=shop", "model=lightgbm,xgbost"], ["no option called `xgbost`"]),
            (["recipe=shop", "split={kind: random}"], ["`split` is a group", "split=random"]),
            (["recipe=shop", "vars.x=Gekündigt["], ["cannot read `vars.x=Gekündigt[`"]),
            (
                ["recipe=shop", "features=profile", "features.profile={columns: {a: [b]}}"],
                ["`features.profile` cannot be set so", "'~features.profile' '+features.profile="],
            ),
        ],
    )  # fmt: skip
    def test_on_the_command_line(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], said: list[str]
    ) -> None:
        err = told(capsys, *arguments)
        for text in said:
            assert text in err

    @pytest.mark.parametrize(
        ("recipe", "said"),
        [
            (
                "defaults:\n- override /dataset: shop\n- override /target: [buys, leves]\n",
                ["`leaves`", "r.yaml:3"],
            ),
            ("defaults:\n- override /targt: [buys]\n", ["`target`", "recipe/r"]),
            ("defaults:\n- /dataset: shop\n", ["override /dataset"]),
            ("defaults: {dataset: shop}\n", ["defaults list"]),
            (
                "defaults:\n- override /features: profile\nfeatures:\n  profile:\n    columns: {a: b}\n",
                [
                    "`features.profile.columns` is a list in one file",
                    "recipes/r.yaml:5",
                    "conf/features/NAME.yaml",
                ],
            ),
        ],
    )
    def test_in_a_recipe(self, capsys: pytest.CaptureFixture[str], recipe: str, said: list[str]) -> None:
        write(Path.cwd(), {"recipes/r.yaml": recipe})
        err = told(capsys, "recipe=r")
        for text in said:
            assert text in err


def test_the_check_names_file_and_line_of_what_hydra_composed(seen: list[Composed]) -> None:  # noqa: F811
    write(Path.cwd(), {"recipes/r.yaml": "target:\n  mine:\n    kind: event\n    horizn: 7d\n"})
    assert main(["recipe=r"]) == 0
    with pytest.raises(ConfigError) as caught:
        validate(Root, {"target": seen[0].plain["target"]}, seen[0].provenance)
    assert "recipes/r.yaml:4  unknown key `target.mine.horizn`" in caught.value.what
    assert "`target.mine.horizon` is missing" in caught.value.what


class TestJsonSchemas:
    @pytest.fixture
    def written(self, tmp_path: Path) -> dict[str, Any]:
        return {path.stem: json.loads(path.read_text()) for path in schemas.write(tmp_path / "schemas", Root)}

    def test_one_for_each_group_and_for_recipes(self, written: dict[str, Any]) -> None:
        assert {"target", "features", "recipe", "config"} <= set(written)
        assert "seed" not in written

    @pytest.mark.parametrize(
        ("schema", "text", "fits"),
        [
            ("target", "{kind: event, horizon: 30d}", True),
            ("target", "{kind: event, horizon: 30d, at_least: 2, defaults: [base]}", True),
            ("target", "{kind: event, horizon: 30d, at_least: '${seed}'}", True),
            ("target", "{kind: event, horizon: 30d, at_least: many}", False),
            ("target", "{kind: event, horizn: 30d}", False),
            ("recipe", "{defaults: [{override /target: [a]}], target: {a: {horizon: 1d}}}", True),
            ("recipe", "{target: {a: {horizn: 1d}}}", False),
            ("recipe", "{seed: x}", False),
            ("recipe", "{hydra: {}}", False),
            ("config", "{hydra: {}, defaults: []}", True),
        ],
    )
    def test_they_accept_and_refuse(
        self, written: dict[str, Any], schema: str, text: str, fits: bool
    ) -> None:
        validator = pytest.importorskip("jsonschema").Draft202012Validator
        validator.check_schema(written[schema])
        assert validator(written[schema]).is_valid(yaml.safe_load(text)) is fits

    def test_descriptions_are_kept(self, written: dict[str, Any]) -> None:
        assert "a span such as 30d" in json.dumps(written["target"])


def test_a_mistake_in_what_another_key_repeats_is_told_once() -> None:
    """`second.part: ${first}`: the wrong key lies in `first`, and both show it."""

    class Part(BaseModel):
        model_config = ConfigDict(extra="forbid")
        size: int = 1

    class Whole(BaseModel):
        first: Part
        second: dict[str, Part]

    plain = {"first": {"sise": 2}, "second": {"part": {"sise": 2}}}
    alone = Provenance(dict, {})
    with pytest.raises(ConfigError, match="2 mistakes"):
        validate(Whole, plain, alone)
    with pytest.raises(ConfigError) as caught:
        validate(Whole, plain, Provenance(dict, {"second.part": "first"}))
    assert caught.value.what == "unknown key `first.sise`"


SUNDAYS = np.arange("2020-02-02", "2020-08-02", 7, "datetime64[D]").astype("datetime64[us]")


@pytest.mark.parametrize("keys", [{}, {"split.test.cutoffs": "22"}, {"horizon": "100 days"}, {"folds": "24"}])
def test_what_a_split_of_too_few_cutoffs_offers_on_the_command_line_works(keys: dict[str, str]) -> None:
    """Half a year of Sundays, 30 days, eight to test and eight to validate: with the words offered it can be split."""
    given: dict[str, Any] = {"kind": "temporal", "test": {"cutoffs": 8}, "validation": {"cutoffs": 8}}
    if "folds" in keys:
        given = {"kind": "rolling", "folds": int(keys["folds"]), "validation": {"cutoffs": 8}}
    given |= {"test": {"cutoffs": 22}} if "split.test.cutoffs" in keys else {}

    def parts() -> list[set[int]]:
        node, moments = TypeAdapter(Split).validate_python(given), SUNDAYS[: 17 if not keys else None]
        entity = np.tile(np.array([f"{n}" for n in range(50)], object), len(moments))
        gap = [span(keys.get("horizon", "30 days"))]
        return [set(one.part.tolist()) for one in assign(node, entity, np.repeat(moments, 50), gap, 0)]

    with pytest.raises(ConfigError) as error:
        parts()
    offered = shlex.split(str(error.value.fix).removeprefix("write ").split(", or ")[0])
    assert offered
    for key, _, value in (word.partition("=") for word in offered):
        _, first, *rest = key.split(".")
        if rest:
            given[first] = {rest[0]: int(value)}
        else:
            given[first] = yaml.safe_load(value)
    assert all({0, 1, 2} <= found for found in parts())


def test_where_no_cutoff_can_be_split_off_entities_are_dealt() -> None:
    node = TypeAdapter(Split).validate_python({"kind": "temporal"})
    with pytest.raises(ConfigError, match="no cutoff lies") as error:
        assign(node, np.array(["a"] * 26, object), SUNDAYS, [span("2 years")], 0)
    assert "split=grouped" in str(error.value.fix)
