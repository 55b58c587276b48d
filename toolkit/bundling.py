"""What a recipe's bundle holds, and how it is read back: all that is needed to score, and no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from toolkit import __version__, bundle
from toolkit.actions import reasons
from toolkit.bundle.files import read_arrays, write_arrays
from toolkit.config.counterfactual import Counterfactual
from toolkit.config.entities import Entities, NoEntities
from toolkit.config.fairness import Protected
from toolkit.config.features import Attributes, FeatureSet
from toolkit.config.listing import Listing
from toolkit.config.measures import Cohort
from toolkit.config.playbook import NoPlaybook, Playbook
from toolkit.config.schema import Config, Engine
from toolkit.config.tables import Dataset
from toolkit.config.targets import Target
from toolkit.data.tables import Tables
from toolkit.errors import BundleError
from toolkit.evaluation.counterfactual.reference import Reference
from toolkit.models import store
from toolkit.models.encode import Encoder
from toolkit.models.interface import Fitted
from toolkit.prepare.cohort import chosen_by
from toolkit.prepare.matrix import Compiled, Declaration
from toolkit.prepare.protected import CompiledProtected
from toolkit.runfolder import plain
from toolkit.scoring import history
from toolkit.training.calibration import Calibrator
from toolkit.training.experiment import Outcome
from toolkit.training.fairness import failed_gates
from toolkit.training.mitigation import GroupThresholds
from toolkit.training.threshold import Threshold
from toolkit.training.triage import Triage
from toolkit.training.unlike import Guard

FORMAT = 1


@dataclass(frozen=True)
class Head:
    """How one target is scored: which model, as which task, calibrated and cut how."""

    name: str
    type: str
    classes: tuple[str, ...]
    model: str
    position: int
    calibrator: Calibrator
    threshold: Threshold | None
    logged: bool = False  # fitted as ln(1 + value), read as the value
    by_group: GroupThresholds | None = None  # decides in place of `threshold`


@dataclass(frozen=True)
class Scorer:
    """A bundle in memory. labels: columns that new tables need not have; features: columns, channels, relations.

    others: heads of further models, whose ranked lists are written too; usual: each column's usual encoded
    value in training rows [columns], for reasons; stamps: of `history.frozen`; trained: the newest cutoff;
    told: for each column what reasons call it (None: it is never one), and the number of its story;
    gates: the fairness gates that the run failed;
    counterfactual: what is said about changes, and the training rows that these are held against;
    triage: which rows a person should look at.
    """

    name: str
    declaration: Declaration
    encoder: Encoder
    heads: tuple[Head, ...]
    models: Mapping[str, Fitted]
    labels: frozenset[tuple[str, str]]
    coherent: tuple[tuple[str, ...], ...]
    features: tuple[str, ...]
    list_size: int
    engine: Engine
    others: tuple[Head, ...]
    listing: Listing
    playbook: Playbook
    usual: np.ndarray | None
    stamps: Mapping[str, Mapping[str, Any]]
    trained: datetime | None
    told: tuple[tuple[str | None, int], ...] = ()
    gates: tuple[str, ...] = ()
    counterfactual: Counterfactual | None = None
    entities: Entities = field(default_factory=NoEntities)
    reference: Reference | None = None
    triage: Triage | None = None


def frozen_dataset(dataset: Dataset, tables: Tables) -> Dataset:
    """The dataset with every inferred type written down, so that new files are read in the same way."""
    declared = {}
    for name, table in dataset.tables.items():
        if name not in tables.loaded:
            continue
        made = {*table.score, *table.derive}
        columns = {c: column for c, column in tables[name].columns.items() if c not in made}
        covers = str(tables[name].covers) if tables[name].covers else None
        declared[name] = table.model_copy(update={"columns": columns, "infer": False, "covers": covers})
    relations = {name: r for name, r in dataset.relations.items() if r.table in declared}
    return dataset.model_copy(update={"tables": declared, "relations": relations})


def frozen_features(config: Config, compiled: Compiled) -> dict[str, FeatureSet]:
    """Feature sets with `columns: all` replaced by what it meant."""
    found: dict[str, FeatureSet] = {}
    by_set = {part.name: part for part in compiled.sets}
    for name, node in config.features.items():
        if isinstance(node, Attributes):
            node = node.model_copy(
                update={"columns": [f.column for f in by_set[name].features], "exclude": []}
            )
        found[name] = node
    return found


def write(
    config: Config,
    compiled: Compiled,
    outcome: Outcome,
    folder: Path,
    usual: np.ndarray | None = None,
    reference: Reference | None = None,
) -> None:
    """Write the bundle of a run: the chosen models, and everything between a table and a score.

    usual: of `toolkit.actions.reasons.usual`; reference: what changes are held against, where they are declared.
    """
    dataset = frozen_dataset(config.dataset, compiled.tables)
    listed = listed_models(config)
    heads = []
    for position, task in enumerate(outcome.tasks):
        for one in outcome.of(task.name):
            if not one.chosen and one.model not in listed:
                continue
            heads.append({
                "name": task.name, "type": task.type, "classes": list(task.classes), "model": one.model, "position": position,
                "calibrator": one.calibrator.to_dict(), "threshold": one.threshold and one.threshold.to_dict(),
                "label_state": outcome.states[task.name].to_dict(), "logged": getattr(config.target[task.name], "transform", "none") == "log1p",
                "chosen": one.chosen, "by_group": one.by_group and one.by_group.to_dict(),
            })  # fmt: skip
    used = {str(head["model"]) for head in heads}
    contents: dict[str, Any] = {
        "recipe.json": plain({
            "format": FORMAT, "toolkit": __version__, "name": config.name, "description": config.description,
            "dataset": dataset.model_dump(mode="json"), "cohort": config.cohort.model_dump(mode="json"),
            "target": {name: node.model_dump(mode="json") for name, node in config.target.items()},
            "features": {name: node.model_dump(mode="json") for name, node in frozen_features(config, compiled).items()},
            "labels": sorted({*compiled.labels, *_dispensable(config, compiled)}), "coherent": config.coherent, "list_size": config.evaluation.list_size, "engine": config.engine.model_dump(mode="json"),
            "feature_names": compiled.names, "listing": config.listing.model_dump(mode="json"), "usual": usual,
            "told": reasons.told(compiled.features, {c for t in compiled.tables.loaded.values() for c in t.columns}, config.listing.words),
            "playbook": config.playbook.model_dump(mode="json"), "entities": config.entities.model_dump(mode="json"),
            "trained_at": [cutoff.isoformat() for cutoff in compiled.cutoffs], "stamps": history.frozen(compiled.tables),
            "protected": {one.name: one.node.model_dump(mode="json") for one in _needed(config, compiled)},
            "failed_gates": failed_gates(outcome),
        }),
        "encoder.json": outcome.encoder.to_dict(), "heads.json": plain(heads),
    }  # fmt: skip
    for name in sorted(used):
        contents[f"models/{name}"] = lambda path, n=name: store.save(
            path, outcome.models[n], outcome.fitted[n]
        )
    if outcome.triage:
        contents["triage.json"] = plain(outcome.triage.to_dict())
        if guard := outcome.triage.guard:
            contents["guard.safetensors"] = lambda path: write_arrays(path, guard.to_arrays())
        contents["recipe.json"] |= {"triage": "guarded" if guard else "unguarded"}
    if reference:
        contents["recipe.json"] |= plain({
            "counterfactual": config.counterfactual.model_dump(mode="json"), "reference": reference.names
        })  # fmt: skip
        contents["reference.safetensors"] = lambda path: write_arrays(path, reference.to_arrays())
    bundle.write(folder, contents)


def _needed(config: Config, compiled: Compiled) -> list[CompiledProtected]:
    """The protected attribute that decisions need, if thresholds are by group."""
    mitigation = config.fairness.mitigation
    return [one for one in compiled.protected if mitigation and one.name == mitigation.attribute]


def _dispensable(config: Config, compiled: Compiled) -> set[tuple[str, str]]:
    """Columns that new tables need not have: protected ones that only judged decisions, and what an index of
    documents says besides, where nothing reads it: new files may come without one.
    """
    if config.playbook.kind != "none":
        return set()  # its rules may look at any column of the entity table
    tables = compiled.tables
    entity = tables[config.dataset.entity]
    used = {source for one in _needed(config, compiled) for source in one.sources}
    used |= chosen_by(config.cohort, tables)
    used |= {source for target in compiled.targets.values() for source in target.chosen_by}
    named = [
        *config.listing.columns.values(),
        *(d.column for d in getattr(config.triage, "doubts", {}).values()),
    ]
    used |= entity.sources({name for name in named if name in entity.columns})
    used |= {source for feature in compiled.features for source in feature.sources}
    besides = {(entity.name, column) for column in entity.inferred} if config.dataset.documents else set()
    return ({source for one in compiled.protected for source in one.alone} | besides) - used


def listed_models(config: Config) -> list[str]:
    """Models whose ranked lists are written beside the chosen one's."""
    listing = config.listing
    if listing.file is None or listing.models == "chosen":
        return []
    return list(config.model) if listing.models == "all" else list(listing.models)


def read(folder: Path, accept_gate: bool = False) -> Scorer:
    """Verify and read a bundle. Raises BundleError naming what is wrong.

    accept_gate: read it although the run failed a fairness gate that was to fail it.
    """
    found = bundle.read(folder)
    recipe, heads, encoder = (found.json(f"{name}.json") for name in ("recipe", "heads", "encoder"))
    try:
        if recipe["format"] != FORMAT:
            raise BundleError(
                f"the bundle has format {recipe['format']}; this version reads {FORMAT}",
                where=str(folder),
                fix="use the toolkit version that wrote it",
            )
        scorer = _parsed(recipe, heads, encoder)
        if "reference" in recipe:
            arrays = read_arrays(found.path("reference.safetensors"))
            node: Counterfactual = TypeAdapter(Counterfactual).validate_python(recipe["counterfactual"])
            scorer = replace(
                scorer, counterfactual=node, reference=Reference.from_arrays(recipe["reference"], arrays)
            )
        if "triage" in recipe:
            guarded = recipe["triage"] == "guarded"
            guard = Guard.from_arrays(read_arrays(found.path("guard.safetensors"))) if guarded else None
            scorer = replace(scorer, triage=Triage.from_dict(found.json("triage.json"), guard))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            "the bundle's declaration cannot be understood",
            where=str(folder),
            why=f"{type(error).__name__}: {error}"[:300],
            fix="score with the toolkit version that wrote it (manifest.json), or run the recipe again",
        ) from error
    if scorer.gates and not accept_gate:
        raise BundleError(
            f"the run failed {'a fairness gate' if len(scorer.gates) == 1 else 'fairness gates'}: {'; '.join(scorer.gates)}",
            where=str(folder),
            why="the recipe says that such a run is not to be used (`on_failure: fail`)",
            fix="see the run's report; to score all the same, say so: accept_gate=true",
        )
    models = {
        name: store.load(found.path(f"models/{name}"))
        for name in {h.model: None for h in scorer.heads + scorer.others}
    }
    return replace(scorer, models=models)


def _parsed(recipe: dict[str, Any], heads: list[dict[str, Any]], encoder: dict[str, Any]) -> Scorer:
    """What the JSON files say; the models are not loaded yet."""
    declaration = Declaration(
        Dataset.model_validate(recipe["dataset"]),
        Cohort.model_validate(recipe["cohort"]),
        TypeAdapter(dict[str, Target]).validate_python(recipe["target"]),
        TypeAdapter(dict[str, FeatureSet]).validate_python(recipe["features"]),
        protected=TypeAdapter(dict[str, Protected]).validate_python(recipe.get("protected", {})),
    )
    parsed = [
        Head(h["name"], h["type"], tuple(h["classes"]), h["model"], int(h["position"]), Calibrator.from_dict(h["calibrator"]),
             Threshold.from_dict(h["threshold"]) if h["threshold"] else None, bool(h["logged"]),
             GroupThresholds.from_dict(h["by_group"]) if h.get("by_group") else None)
        for h in heads
    ]  # fmt: skip
    chosen = [bool(h.get("chosen", True)) for h in heads]
    usual = recipe.get("usual")
    return Scorer(
        name=recipe["name"] or "bundle",
        declaration=declaration,
        encoder=Encoder.from_dict(encoder),
        heads=tuple(head for head, its in zip(parsed, chosen, strict=True) if its),
        models={},
        labels=frozenset((table, column) for table, column in recipe["labels"]),
        coherent=tuple(tuple(chain) for chain in recipe["coherent"]),
        features=tuple(recipe["feature_names"]),
        list_size=int(recipe["list_size"]),
        engine=Engine.model_validate(recipe["engine"]),
        others=tuple(head for head, its in zip(parsed, chosen, strict=True) if not its),
        listing=Listing.model_validate(recipe.get("listing", {})),
        playbook=TypeAdapter(Playbook).validate_python(recipe.get("playbook") or NoPlaybook()),
        usual=None if usual is None else np.array(usual, np.float32),
        stamps=recipe.get("stamps", {}),
        trained=max(map(datetime.fromisoformat, recipe["trained_at"]), default=None),
        told=tuple((text, int(story)) for text, story in recipe.get("told", [])),
        gates=tuple(map(str, recipe.get("failed_gates", ()))),
        entities=TypeAdapter(Entities).validate_python(recipe.get("entities") or NoEntities()),
    )
