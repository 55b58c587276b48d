"""The whole configuration as typed objects: what a recipe, its groups and overrides compose into."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

import toolkit.models
import toolkit.simulate  # noqa: F401  registers the worlds
from toolkit.config.counterfactual import Changes, Counterfactual, NoCounterfactual
from toolkit.config.counterfactual import wrong as wrong_changes
from toolkit.config.enrichment import Enrichment, NoEnrichment, Rows
from toolkit.config.entities import Entities, EntityPatterns, NoEntities
from toolkit.config.fairness import Fairness, wrong_in
from toolkit.config.features import FeatureSet
from toolkit.config.listing import Listing
from toolkit.config.measures import Cohort
from toolkit.config.modalities import wrong_names
from toolkit.config.names import WrongNameError, refuse, unknown
from toolkit.config.node import Node
from toolkit.config.playbook import NoPlaybook, Playbook, Rules
from toolkit.config.playbook import wrong_names as wrong_plays
from toolkit.config.reading import Ocr, Reading
from toolkit.config.tables import Dataset, Source
from toolkit.config.targets import Target, type_of
from toolkit.config.time import SpanText
from toolkit.config.triage import NoTriage, Queue, Triage, wrong_target
from toolkit.errors import did_you_mean
from toolkit.models.ensemble import wrong_members
from toolkit.models.neural.settings import AdamW, Focal, Loss, Optimizer, Plateau, Scheduler, Trainer
from toolkit.registry import models
from toolkit.tracking.settings import NoTracking, Tracking
from toolkit.training.calibration import Calibration
from toolkit.training.threshold import MaximiseF1, ThresholdConfig
from toolkit.tuning.settings import NoTuning, Tuning
from toolkit.tuning.space import wrong_grids

Share = Annotated[float, Field(gt=0, lt=1)]


class ByCutoffs(Node):
    """Whole cutoffs: the last ones before the test. Validation is later than training, as the test is."""

    cutoffs: int = Field(1, ge=1)


class ByFraction(Node):
    """A fraction of the entities, at all cutoffs before the test.

    No entity is in both training and validation, and the newest labels train. Validation is no later
    than training: what changes with time shows in the test only.
    """

    fraction: Share = 0.2


class TemporalSplit(Node):
    """The latest cutoffs test; earlier ones, a whole horizon before, train."""

    kind: Literal["temporal"]
    test: ByCutoffs = ByCutoffs()
    validation: ByCutoffs | ByFraction = ByFraction()
    gap: SpanText | None = Field(
        None, description="time between a training and a test cutoff; default: the horizon"
    )


class RollingSplit(Node):
    """Rolling-origin backtest: several temporal splits, each testing on the next cutoff."""

    kind: Literal["rolling"]
    folds: int = Field(3, ge=2)
    validation: ByCutoffs | ByFraction = ByFraction()
    gap: SpanText | None = None


class GroupedSplit(Node):
    """Entities are dealt to train, validation and test; all rows of one stay together."""

    kind: Literal["grouped"]
    test: Share = 0.2
    validation: Share = 0.2
    together: str | None = Field(
        None,
        description="a column of the entity table whose equal values stay on one side; it is no feature then",
    )


class RandomSplit(Node):
    """Entities are dealt at random, keeping the classes of a label column in proportion."""

    kind: Literal["random"]
    test: Share = 0.2
    validation: Share = 0.2
    stratify: str | None = Field(
        None, description="a `column` target whose classes (of a number: tenths) are kept in proportion"
    )
    together: str | None = Field(
        None,
        description="a column of the entity table whose equal values stay on one side; it is no feature then",
    )


class ColumnSplit(Node):
    """A column of the entity table says who trains, validates and tests; it is no feature then."""

    kind: Literal["column"]
    column: str = Field(description="a column of the entity table; rows with any other value are not used")
    train: str = Field("train", description="the value of rows that train")
    validation: str = Field("validation", description="the value of rows that validate")
    test: str = Field("test", description="the value of rows that test")

    @model_validator(mode="after")
    def values_differ(self) -> ColumnSplit:
        if len({self.train, self.validation, self.test}) < 3:
            raise ValueError("`train`, `validation` and `test` are three different values")
        return self


Split = Annotated[
    TemporalSplit | RollingSplit | GroupedSplit | RandomSplit | ColumnSplit, Field(discriminator="kind")
]


class Evaluation(Node):
    """How models are compared and what is reported."""

    select_by: Literal["roc_auc", "pr_auc", "log_loss"] = Field(
        "roc_auc", description="validation metric that chooses (binary)"
    )
    select_classes_by: Literal["macro_auc", "accuracy", "macro_f1", "log_loss"] = Field(
        "macro_auc", description="validation metric that chooses (several classes)"
    )
    at: list[str] = Field(
        ["1%", "5%", "10%"], description="sizes at which precision and lift are given: 5% or 500"
    )
    per_list: list[Annotated[int, Field(ge=1)]] = Field(
        [10, 25, 50, 100],
        max_length=20,
        description="rows from the top of each cutoff's list at which precision and capture are given, as means over test cutoffs",
    )
    bootstrap: int = Field(200, ge=0, le=10_000, description="replicates of the entity bootstrap")
    draw_by: str | None = Field(
        None,
        description="column of the entity table by which intervals draw, where entities of one value resemble each other "
        "(orders: `buyer_id`); without: each entity by itself",
    )

    @field_validator("at", mode="before")
    @classmethod
    def sizes_are_shares_or_counts(cls, value: Any) -> Any:
        for item in value if isinstance(value, list) else []:
            found = re.fullmatch(r"(\d+(\.\d+)?)%|([1-9]\d*)", str(item))
            if not found or (found.group(1) and not 0 < float(found.group(1)) <= 100):
                raise ValueError(f"`{item}` is no size of a list; write 5% (of the rows) or 500 (rows)")
        return [str(item) for item in value] if isinstance(value, list) else value

    @field_validator("per_list")
    @classmethod
    def sizes_stand_once_the_smallest_first(cls, value: list[int]) -> list[int]:
        return sorted(set(value))

    segments: list[str] = Field([], description="attributes by which test metrics are broken down")
    smallest_group: int = Field(50, ge=1, description="groups with fewer rows are withheld")
    list_size: int = Field(5_000, ge=1, description="rows of a ranked list per target")


class Audit(Node):
    """What the leak audit calls suspicious, and what the recipe answers for."""

    acknowledge: dict[str, str] = Field({}, description="feature → why it is no leak")
    single_column_auc: float = Field(
        0.9, gt=0.5, le=1, description="one column alone reaches this: suspicious"
    )
    on_finding: Literal["warn", "refuse"] = "warn"


class Report(Node):
    """The page that a run leaves for its readers."""

    html: bool = Field(True, description="write report.html")
    explain: bool = Field(
        True, description="say what drives the scores, and why five entities score as they do"
    )
    explain_by: Literal["auto", "shap", "lime"] = Field(
        "auto",
        description="what speaks for the five entities. auto: the model's own contributions, of other models what the "
        "score loses with the usual value; shap: Shapley values of those too (extra `shap`); lime: a local linear "
        "model, with its R²",
    )


class Engine(Node):
    """Embedded DuckDB."""

    kind: Literal["duckdb"] = "duckdb"
    threads: int = Field(0, ge=0, description="0: as many as the machine has")
    memory: str = Field("4GB", pattern=r"^\d+\s*[MG]i?B$", description="memory limit of the engine")


class Config(Node):
    """A recipe, composed."""

    name: str | None = Field(None, description="name of the recipe")
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**31)
    cache: str = Field("outputs/.cache", description="folder of prepared data, keyed by content")
    cache_days: float = Field(
        30, ge=0, description="what has not been used for so many days is removed from it; 0: never"
    )
    quiet: bool = Field(False, description="say nothing but where the result is")
    verbose: bool = Field(False, description="say every detail, every warning and the log as they come")
    dataset: Dataset
    source: Source
    cohort: Cohort
    target: dict[str, Target] = Field(min_length=1)
    features: dict[str, FeatureSet] = Field(min_length=1)
    split: Split
    model: dict[str, models.union()] = Field(min_length=1)  # type: ignore[valid-type]
    loss: Loss = Field(Focal(), description="what a neural model minimises")
    optimizer: Optimizer = Field(AdamW(), description="how it does")
    scheduler: Scheduler = Field(Plateau(), description="its learning rate over time")
    trainer: Trainer = Field(Trainer(), description="its training loop")
    calibration: Calibration = Calibration()
    threshold: ThresholdConfig = MaximiseF1()
    reading: Reading = Field(Reading(), description="how documents are read, if the dataset has some")
    ocr: Ocr = Field(Ocr(), description="what turns pictures of pages into words")
    evaluation: Evaluation = Evaluation()
    fairness: Fairness = Fairness()
    audit: Audit = Audit()
    engine: Engine = Engine()
    report: Report = Report()
    listing: Listing = Listing()
    enrichment: Enrichment = NoEnrichment()
    entities: Entities = NoEntities()
    playbook: Playbook = NoPlaybook()
    counterfactual: Counterfactual = NoCounterfactual()
    triage: Triage = Field(NoTriage(), description="which rows a person should look at")
    tuning: Tuning = NoTuning()
    tracking: Tracking = NoTracking()
    vars: dict[str, str | int | float | bool | None] = Field(
        {}, description="variables for `${vars.name}` elsewhere"
    )
    coherent: list[list[str]] = Field(
        [], description="chains of nested binary targets, smallest probability first"
    )

    @model_validator(mode="after")
    def says_little_or_much(self) -> Config:
        if self.quiet and self.verbose:
            raise ValueError("`quiet` and `verbose` exclude each other")
        return self

    @model_validator(mode="after")
    def tables_and_relations_are_declared(self) -> Config:
        wrong: list[WrongNameError] = []
        for place in ("target", "features", "cohort"):
            node = getattr(self, place)
            wrong += unknown(node, "table", self.dataset.tables, "table", (place,))
            wrong += unknown(node, "observed_in", self.dataset.tables, "table", (place,))
            wrong += unknown(node, "relation", self.dataset.relations, "relation", (place,))
        wrong += wrong_names(self.features, self.dataset)
        refuse("Config", wrong)
        return self

    @model_validator(mode="after")
    def entities_are_looked_for_in_a_table(self) -> Config:
        if isinstance(self.entities, EntityPatterns) and self.entities.table not in self.dataset.tables:
            name = self.entities.table
            what = f"no table is called `{name}`, in whose words entities could be looked for"
            refuse("Config", [WrongNameError.among(("entities", "table"), name, what, self.dataset.tables)])
        return self

    @model_validator(mode="after")
    def fairness_is_of_targets_and_tables(self) -> Config:
        kinds = {name: type_of(target) for name, target in self.target.items()}
        refuse("Config", wrong_in(self.fairness, kinds, self.dataset.tables))
        return self

    @model_validator(mode="after")
    def triage_is_of_several_classes(self) -> Config:
        if isinstance(self.triage, Queue):
            kinds = {name: type_of(target) for name, target in self.target.items()}
            refuse("Config", wrong_target(self.triage, kinds))
        return self

    @model_validator(mode="after")
    def an_enriched_list_is_written(self) -> Config:
        if isinstance(self.enrichment, Rows):
            if self.listing.file is None:
                raise ValueError(
                    "`enrichment` needs a ranked list; choose one: listing=latest, or enrich nothing: enrichment=none"
                )
            if (name := self.enrichment.target) and name not in self.target:
                raise ValueError(
                    f"`enrichment.target` names `{name}`, which is not a target; {did_you_mean(name, self.target)}"
                )
        return self

    @model_validator(mode="after")
    def tiers_are_of_a_yes_or_no_target(self) -> Config:
        if not self.listing.tiers:
            return self
        able, of = [n for n, node in self.target.items() if type_of(node) == "binary"], self.listing.tiers_of
        if of is not None and of not in able:
            what = f"no yes-or-no target is called `{of}`"
            refuse("Config", [WrongNameError.among(("listing", "tiers_of"), of, what, able)])
        if not able:
            fix = "leave out `tiers`, or choose another listing"
            refuse(
                "Config", [WrongNameError(("listing", "tiers"), "tiers", "no target here is yes or no", fix)]
            )
        return self

    @model_validator(mode="after")
    def counterfactuals_have_a_target_and_a_list(self) -> Config:
        if isinstance(self.counterfactual, Changes):
            types = {name: type_of(node) for name, node in self.target.items()}
            why = self._no_threshold_of_a_row(self.counterfactual.target or next(iter(types)))
            refuse("Config", wrong_changes(self.counterfactual, types, self.listing, why))
        return self

    def _no_threshold_of_a_row(self, target: str) -> str:
        """Why more than a row's own score decides, for a target or a narrower one, whose decisions it takes in; ""."""
        chain = next((chain for chain in self.coherent if target in chain), [target])
        deciding = [self.target[name] for name in chain[: chain.index(target) + 1] if name in self.target]
        if any((node.threshold or self.threshold).kind == "fill_capacity" for node in deciding):
            return "a capacity is no threshold of a single row: who else is listed decides"
        if self.fairness.mitigation:
            return "`fairness.mitigation` gives each group a threshold of its own, so there is no single one"
        return ""

    @model_validator(mode="after")
    def a_playbook_has_a_list_and_names_what_is_there(self) -> Config:
        if isinstance(self.playbook, Rules):
            if self.listing.file is None:
                what = "a playbook is for a ranked list, and there is none"
                fix = "choose one: listing=latest, or playbook=none"
                refuse("Config", [WrongNameError(("playbook", "kind"), "rules", what, fix)])
            types = {name: type_of(node) for name, node in self.target.items()}
            refuse("Config", wrong_plays(self.playbook, self.listing, types))
        return self

    @model_validator(mode="after")
    def ensembles_are_made_of_declared_models(self) -> Config:
        refuse("Config", wrong_members(self.model))
        return self

    @model_validator(mode="after")
    def tuned_models_are_declared(self) -> Config:
        wrong = []
        for at, name in enumerate(getattr(self.tuning, "models", None) or []):
            path, able = (
                ("tuning", "models", at),
                [n for n, m in self.model.items() if getattr(m, "search", None)],
            )
            if name not in self.model:
                wrong.append(
                    WrongNameError.among(path, name, f"no model of this recipe is called `{name}`", able)
                )
            elif name not in able:
                what = f"`{name}` has no `search` space, so there is nothing to tune"
                wrong.append(
                    WrongNameError(path, name, what, "declare `search` in the model's file, or leave it out")
                )
        refuse("Config", wrong)
        return self

    @model_validator(mode="after")
    def a_grid_is_tried_whole(self) -> Config:
        if getattr(self.tuning, "sampler", "") == "grid":
            refuse("Config", wrong_grids(self.tuning, self.model))
        return self

    @model_validator(mode="after")
    def chains_nest_binary_targets(self) -> Config:
        told: set[str] = set()
        for chain in self.coherent:
            for name in chain:
                if name not in self.target:
                    raise ValueError(
                        f"`coherent` names `{name}`, which is not a target; {did_you_mean(name, self.target)}"
                    )
                if type_of(self.target[name]) != "binary":
                    raise ValueError(f"`coherent` names `{name}`, which is not a yes-or-no target")
            if len(chain) < 2 or len({*chain}) < len(chain) or told & {*chain}:
                raise ValueError(
                    "a chain in `coherent` has at least two targets, and a target stands in one chain, once"
                )
            told |= {*chain}
        return self
