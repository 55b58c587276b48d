"""JSON Schemas (draft 2020-12) of the declarations, so that an editor completes and checks YAML."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from toolkit.config.compose import MULTI_CHOICE

DRAFT = "https://json-schema.org/draft/2020-12/schema"
DEFAULTS = {"type": "array", "description": "Hydra defaults list: which options of which groups to take"}
LATER = {"type": "string", "pattern": r"\$\{|^\?\?\?$", "description": "an interpolation, or ??? for later"}

Schema = dict[str, Any]


def write(folder: Path, root: type[BaseModel]) -> list[Path]:
    """Write `<group>.json` for each group of `root`, `recipe.json` and `config.json`; return the paths.

    A recipe is merged into the rest, so its schema requires nothing. A file of a multi-choice group
    is one entry of that mapping.
    """
    whole = root.model_json_schema()
    definitions = whole.pop("$defs", {})
    schemas: dict[str, Schema] = {}
    for name, field in whole["properties"].items():
        body = field.get("additionalProperties", {}) if name in MULTI_CHOICE else field
        if _is_group(body, definitions):
            schemas[name] = _finished(body, definitions, f"a file of conf/{name}/")
    partial_definitions = {name: _partial(body) for name, body in definitions.items()}
    recipe = _finished(_partial(whole), partial_definitions, "a recipe")
    config = copy.deepcopy(recipe)
    config["properties"]["hydra"] = {"type": "object"}
    config["title"] = "conf/config.yaml"
    schemas |= {"recipe": recipe, "config": config}

    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (folder / f"{name}.json").write_text(
            json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return [folder / f"{name}.json" for name in schemas]


def _is_group(body: Schema, definitions: dict[str, Schema]) -> bool:
    """Whether the value is a mapping with keys of its own, or a choice between such."""
    options = body.get("oneOf") or body.get("anyOf") or [body]
    return any("properties" in _target(option, definitions) for option in options)


def _target(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    return definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)


def _finished(body: Schema, definitions: dict[str, Schema], title: str) -> Schema:
    """A schema document: `defaults` allowed at its top, interpolations wherever a value may stand."""
    body, definitions = copy.deepcopy(body), copy.deepcopy(definitions)
    top = {}
    for option in body.get("oneOf") or body.get("anyOf") or [body]:
        target = _target(option, definitions)
        if "properties" in target:  # a copy: further in, the same definition takes no defaults list
            entry = copy.deepcopy(target)
            entry["properties"]["defaults"] = DEFAULTS
            if option is body and "$ref" not in option:
                body = entry
            else:
                name = f"{option['$ref'].rpartition('/')[2]}File"
                top[name] = entry
                option["$ref"] = f"#/$defs/{name}"
    body.pop("discriminator", None)
    body.pop("default", None)
    definitions |= top
    used = sorted(_used(body, definitions, set()))
    return {
        "$schema": DRAFT,
        **_open(body, top=True),
        "title": title,
        "$defs": {name: _open(definitions[name], top=True) for name in used},
    }


def _used(schema: Any, definitions: dict[str, Schema], seen: set[str]) -> set[str]:
    """Names of the definitions that a schema refers to, directly or through others."""
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name in definitions and name not in seen:
            seen.add(name)
            _used(definitions[name], definitions, seen)
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _used(inner, definitions, seen)
    return seen


def _open(schema: Any, top: bool = False) -> Any:
    """Let an interpolation stand for every typed value inside."""
    if not isinstance(schema, dict):
        return schema
    result: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _open(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties"):
            result[key] = _open(value)
        elif key in ("oneOf", "anyOf", "allOf", "prefixItems"):
            result[key] = [_open(inner, top=key != "prefixItems") for inner in value]
        elif key != "discriminator":
            result[key] = value
    free_text = schema.get("type") == "string" and not {"enum", "const", "pattern", "format"} & set(schema)
    if top or free_text or "const" in schema or not set(schema) - {"title", "description", "default"}:
        return result
    kept = {key: result.pop(key) for key in ("title", "description", "default") if key in result}
    return {**kept, "anyOf": [result, LATER]}


def _partial(schema: Any) -> Any:
    """Without required keys; and without "exactly one", since a part may fit several members."""
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"anyOf" if key == "oneOf" else key: value for key, value in schema.items()}
    drop = {"required", "minProperties"}
    return {
        key: {name: _partial(inner) for name, inner in value.items()}
        if key == "properties"
        else _partial(value)
        for key, value in renamed.items()
        if not (key in drop and not isinstance(value, dict))
    }
