"""What ships in conf/ and recipes/: every file composes, validates, and helps an editor and a reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.cli.help import description
from toolkit.cli.main import main
from toolkit.config.paths import Root, options

CHECKOUT = Path(__file__).resolve().parents[1]
CONF, RECIPES = CHECKOUT / "conf", CHECKOUT / "recipes"
SHIPPED = options([Root("conf", "", CONF), Root("recipes", "recipe", RECIPES)])
FILES = [(group, name, path) for group, found in SHIPPED.items() for name, path in found.items()]
IDS = [f"{group}/{name}" for group, name, _ in FILES]
USED_BY = {  # option → a recipe that uses it, whose tables it therefore fits
    (key.split()[-1].lstrip("/"), name): recipe
    for recipe, path in reversed(SHIPPED["recipe"].items())
    for item in yaml.safe_load(path.read_text("utf-8"))["defaults"]
    for key, chosen in item.items()
    for name in (chosen if isinstance(chosen, list) else [chosen])
}
USED_BY |= {
    ("features", name): "donor_multitarget"
    for name in ("gift_sequence", "relationship_graph", "contact_texts")
}
USED_BY |= {("counterfactual", "more_usage"): "prospect_conversion"}
USED_BY |= {("target", name): "churn" for name in ("cancels_30d", "falls_silent_30d")}
USED_BY |= {("entities", "real_estate"): "document_classifier"}  # it needs a table of words
ENSEMBLES = {("model", name) for name in ("blend", "blend_equal", "blend_half", "stack")}  # made of others
FLAT = {("dataset", "flat"), ("target", "label"), ("recipe", "flat_churn")}  # what `vars` and a path complete


def test_nothing_else_lies_there() -> None:
    found = {path for folder in (CONF, RECIPES) for path in folder.rglob("*.yaml")}
    assert found == {path for _, _, path in FILES} | {CONF / "config.yaml"}
    assert len(FILES) > 40


@pytest.mark.parametrize(("group", "name", "path"), FILES, ids=IDS)
def test_it_composes_and_validates(
    group: str,
    name: str,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As the one option of its group; a graph with the feature sets that describe its nodes."""
    monkeypatch.chdir(tmp_path)
    several = group in ("target", "features", "model")
    others = ["lightgbm", "xgboost", "logistic"] if (group, name) in ENSEMBLES else []
    written = yaml.safe_load(path.read_text("utf-8"))
    others += written.get("nodes", [])
    others += [each for each in written.get("of", []) if group == "model" and each not in others]
    words = [f"{group}=[{','.join([name, *others])}]" if several else f"{group}={name}"]
    if USED_BY.get((group, name), "churn") not in SHIPPED["recipe"]:
        pytest.skip(f"the recipe {USED_BY[group, name]} has not landed")
    if group != "recipe":
        words.append("recipe=" + USED_BY.get((group, name), "donor_retention"))
    if group == "target" and USED_BY.get((group, name)) in (
        "churn",
        "email_engagement",
    ):  # what its other parts name is not there
        words += ["coherent=[]", "playbook=none", "counterfactual=none"]
    if (group, name) in FLAT | {("source", "folder"), ("source", "database")}:
        words.append("source.path=data")
    code = main(["show", *words])
    said = capsys.readouterr()
    assert code == 0, said.err
    shown = yaml.safe_load(said.out)
    if several:
        assert set(shown[group]) == {name, *others}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("group", "name", "path"), FILES, ids=IDS)
def test_it_tells_the_editor_its_schema_and_the_reader_what_it_is(group: str, name: str, path: Path) -> None:
    first, *_ = path.read_text("utf-8").splitlines()
    prefix, _, address = first.partition("$schema=")
    assert prefix == "# yaml-language-server: "
    assert (path.parent / address).resolve() == CONF / "schema" / f"{group}.json"
    assert (path.parent / address).is_file()
    said = description(path)
    assert 10 < len(said) < 140
    assert "\n" not in said
    assert "yaml-language-server" not in said


def test_the_schemas_are_those_of_the_code(tmp_path: Path) -> None:
    """If this fails: `python -m toolkit schema` in the checkout."""
    words = [sys.executable, "-m", "toolkit", "schema", f"output={tmp_path}"]
    subprocess.run(words, cwd=CHECKOUT, check=True, capture_output=True)
    fresh = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    kept = {path.name: json.loads(path.read_text()) for path in (CONF / "schema").glob("*.json")}
    assert fresh == kept


class TestTheSchemas:
    @staticmethod
    def errors(schema: str, data: Any) -> list[str]:
        jsonschema = pytest.importorskip("jsonschema")
        declared = json.loads((CONF / "schema" / f"{schema}.json").read_text())
        return [error.message for error in jsonschema.Draft202012Validator(declared).iter_errors(data)]

    @pytest.mark.parametrize(("group", "name", "path"), FILES, ids=IDS)
    def test_accept_every_file_that_ships(self, group: str, name: str, path: Path) -> None:
        assert self.errors(group, yaml.safe_load(path.read_text("utf-8"))) == []

    def test_refuse_a_typo_in_any_of_them(self) -> None:
        for group, _, path in FILES:
            data = yaml.safe_load(path.read_text("utf-8")) or {}
            assert self.errors(group, data | {"tpyo": 1}), path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_sets_nothing_inside_a_group_that_it_chooses_by_name(path: Path) -> None:
    """Else `recipe=x split=rolling` would keep settings of the split that it replaces."""
    said = yaml.safe_load(path.read_text())
    chosen = {
        key.removeprefix("override /") for one in said["defaults"] if isinstance(one, dict) for key in one
    }
    assert not chosen & set(said)


@pytest.mark.parametrize("path", sorted((CONF / "dataset").glob("*.yaml")), ids=lambda path: path.stem)
def test_files_of_ones_own_are_given_as_dataset_root(
    path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every dataset, as the README says it; Hydra knows no key that the file does not write."""
    monkeypatch.chdir(tmp_path)
    code = main(["show", f"recipe={USED_BY['dataset', path.stem]}", "dataset.root=mine", "vars.file=rows.csv",
                 "vars.key=id", "vars.label=y", "vars.positive=yes"] if path.stem == "flat"
                else ["show", f"recipe={USED_BY['dataset', path.stem]}", "dataset.root=mine"])  # fmt: skip
    shown = yaml.safe_load(capsys.readouterr().out)
    assert code == 0
    assert shown["source"] == {"kind": "folder", "path": "mine"} | (
        {"csv": shown["source"]["csv"]} if "csv" in shown["source"] else {}
    )
