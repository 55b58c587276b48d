"""Relations known at the cutoff and the nodes that they join, against an oracle in plain Python.

The worlds (see `worlds`) hold edges to entities that do not exist, edges that lack an end, self loops,
duplicates, edges without a weight or a kind, and edges that begin around the cutoffs, in several zones.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import sqlglot
from conftest import Work
from oracle import Oracle
from small import dated, experiment, people, quiet
from worlds import RELATIONS, Made, World, dataset, declare, make, tiny, world

from toolkit import bundling, plan
from toolkit.config.schema import Config
from toolkit.config.tables import Dataset
from toolkit.data import sql
from toolkit.data.cache import Cache
from toolkit.errors import BundleError, ConfigError, DataError, LeakError
from toolkit.modalities import Modalities, Nodes, Sequences
from toolkit.models.encode import Encoder
from toolkit.prepare import matrix as matrices
from toolkit.prepare.graphs import compressed
from toolkit.proof import all_proofs
from toolkit.proof import future as futures
from toolkit.proof.scramble import scramble_rows, some_rows
from toolkit.scoring.batch import score, unseen_events

ZONES = {
    "utc": (21, "UTC", ["2023-03-01", "2024-12-31"]),
    "new_york": (22, "America/New_York", ["2024-03-10", "2024-11-03", "2025-02-28"]),
}  # fmt: skip
SETS: dict[str, Any] = {
    "who": {"kind": "attributes", "table": "people", "columns": ["town", "age"]},
    "orders": {"kind": "windows", "table": "orders", "features": [{"agg": ["count"]}, {"agg": "sum", "column": "amount"}]},
}  # fmt: skip
MEMBERS = {"kind": "attributes", "table": "members", "columns": ["grade", "dues"]}
GRAPHS: dict[str, dict[str, Any]] = {
    "all_ties": {"relation": "ties"},
    "by_sort": {"relation": "ties", "types": ["work", "kin"], "weight": False},
    "arrows": {"relation": "arrows", "types": ["kin"]},
    "links": {"relation": "links"},
}
CHOSEN = {"where": "age > 40", "having": [{"table": "orders", "within": "1 year"}]}
Case = tuple[World, Made, Oracle, matrices.Matrix]


@pytest.fixture(
    scope="module", params=[(zone, cohort) for zone in ZONES for cohort in ("everybody", "chosen", "dated")]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Everybody; those whom `where` and `having` choose; and entities that become known one by one."""
    zone_name, cohort = request.param
    seed, zone, days = ZONES[zone_name]
    found = world(seed, zone, days, people=40)
    folder = tmp_path_factory.mktemp(f"{zone_name}-{cohort}")
    found.write(folder)
    features = SETS | ({"who": MEMBERS} if cohort == "dated" else {})
    features |= {name: {"kind": "graph", "nodes": ["who", "orders"], **each} for name, each in GRAPHS.items()}
    chosen: dict[str, Any] = CHOSEN if cohort == "chosen" else {}
    data = dataset("members" if cohort == "dated" else "people")
    made = make(folder, declare({"cutoffs": days, "timezone": zone} | chosen, features, data=data))
    return found, made, Oracle(found), made.matrix()


def entities(case: Case) -> list[tuple[Any, str]]:
    """(cutoff, entity) of every node, in order."""
    found, made, oracle, _ = case
    if made.tables.dataset.entity == "people":
        known = {cutoff: [row["id"] for row in found.rows["people"]] for cutoff in found.cutoffs}
    else:
        known = {
            c: [r["id"] for r in found.rows["members"] if oracle.instant(r["joined"]) <= c]
            for c in found.cutoffs
        }  # type: ignore[operator]
    return [(cutoff, entity) for cutoff in found.cutoffs for entity in sorted(known[cutoff])]


def heard(nodes: Nodes, kind: str, node: int) -> Counter[tuple[int, float]]:
    """(neighbour, weight) of a node, as often as they occur."""
    relation = nodes.relations[kind]
    of = slice(relation.indptr[node], relation.indptr[node + 1])
    return Counter(
        zip(
            relation.indices[of].tolist(),
            np.round(relation.weight[of].astype(float), 5).tolist(),
            strict=True,
        )
    )


def test_the_edges_of_every_node_agree_with_the_oracle(case: Case) -> None:
    _, _, oracle, matrix = case
    place = {pair: number for number, pair in enumerate(entities(case))}
    for nodes in matrix.graphs:
        asked = GRAPHS[nodes.name]
        assert list(nodes.relations) == asked.get("types", [asked["relation"]])
        for kind in nodes.relations:
            types = (kind,) if "types" in asked else None
            weighted = asked.get("weight", "weight" in RELATIONS[asked["relation"]])
            for (cutoff, entity), number in place.items():
                edges = oracle.neighbours(asked["relation"], entity, cutoff, types)
                wanted = Counter(
                    (place[cutoff, other], round(weight if weighted else 1.0, 5))
                    for other, weight in edges
                    if (cutoff, other) in place
                )
                assert heard(nodes, kind, number) == wanted, (nodes.name, kind, entity, cutoff)
            assert len(nodes.relations[kind].indptr) == len(place) + 1


def test_edges_that_lead_nowhere_are_counted(case: Case) -> None:
    found, _, oracle, matrix = case
    place = set(entities(case))
    for nodes in matrix.graphs:
        asked = GRAPHS[nodes.name]
        relation = RELATIONS[asked["relation"]]
        a, b = relation["ends"]
        for kind in nodes.relations:
            wanted = 0
            for row in oracle.by_entity[relation["table"]][""]:
                fits = "types" not in asked or row[relation["type"]] == kind
                if not fits or (row[a] is not None and row[a] == row[b]):
                    continue
                wanted += sum(
                    row.get("known", cutoff) <= cutoff and not {(cutoff, row[a]), (cutoff, row[b])} <= place
                    for cutoff in found.cutoffs
                )
            assert nodes.dropped[kind] == wanted
            said = f"graph `{nodes.name}`: {wanted:,} edges of `{kind}` are left out"
            assert any(note.startswith(said) for note in matrix.notes()) == (wanted > 0)


def test_the_worlds_would_show_a_difference(case: Case) -> None:
    """Positive control: every relation has edges and some that lead nowhere, and they differ between cutoffs."""
    _, _, _, matrix = case
    ties = matrix.graphs[0]
    assert all(len(relation.indices) for nodes in matrix.graphs for relation in nodes.relations.values())
    assert sum(sum(nodes.dropped.values()) for nodes in matrix.graphs) > 10
    cutoffs = np.array([cutoff for cutoff, _ in entities(case)])
    per_cutoff = [
        np.diff(ties.relations["ties"].indptr)[cutoffs == cutoff].sum() for cutoff in sorted(set(cutoffs))
    ]
    assert len(set(per_cutoff)) > 1
    assert len(set(np.round(ties.relations["ties"].weight, 5))) > 3
    assert set(matrix.graphs[1].relations["kin"].weight) == {1.0}


def test_rows_find_their_nodes(case: Case) -> None:
    _, made, _, matrix = case
    place = {pair: number for number, pair in enumerate(entities(case))}
    wanted = [place[row["cutoff"], row["entity"]] for row in made.cohort()]
    for nodes in matrix.graphs:
        assert nodes.row_node.dtype == np.int64
        assert nodes.row_node.tolist() == wanted


def test_nodes_are_described_as_rows_are(case: Case) -> None:
    """Where rows are everybody, by the very same arrays; where not, by what rows of everybody would have."""
    _, made, _, matrix = case
    chosen = made.compiled.nodes is not made.compiled.rows
    for nodes in matrix.graphs:
        assert list(nodes.columns) == list(matrix.columns)
        assert len(nodes.columns) == 4
        for name, column in nodes.columns.items():
            assert (column is matrix.columns[name]) == (not chosen)
            assert len(column) == len(entities(case))
            here, there = (
                pd.Series(x).astype(object) for x in (column[nodes.row_node], matrix.columns[name])
            )
            pd.testing.assert_series_equal(here, there, check_names=False)
    if chosen:
        assert len(matrix) < len(entities(case))
        first, *others = matrix.graphs
        assert all(nodes.columns[name] is first.columns[name] for nodes in others for name in nodes.columns)
        # those who are no rows are described as well
        rest = np.setdiff1d(np.arange(len(entities(case))), first.row_node)
        assert (first.columns["orders.count_all"][rest] > 0).any()


# --- a few rows, written out ------------------------------------------------------------------------

TABLES: dict[str, Any] = {
    "clients": {"key": "id", "known": "always", "columns": {"id": "text", "age": "integer", "plan": "text", "boss": "text", "pull": "number"}},
    "orders": {"entity": "client", "clock": "day", "columns": {"client": "text", "day": "date"}},
    "ties": {"clock": "since", "columns": {
        "a": "text", "b": "text", "sort": {"type": "text", "values": ["kin", "work"]}, "strength": "number", "since": "date"}},
    "plain": {"known": "always", "columns": {"a": "text", "b": "text"}},
}  # fmt: skip
BONDS = {
    "ties": {"table": "ties", "ends": ["a", "b"], "type": "sort", "weight": "strength"},
    "plain": {"table": "plain", "ends": ["a", "b"], "directed": True},
    "bosses": {"table": "clients", "ends": ["id", "boss"], "type": "plan", "weight": "pull"},
}
FILES = {
    "clients": "id, age, plan, boss, pull\n1, 30, x, 2, 1\n2, 40, y, , 2\n3, 50, x, 2, 3\n4, 60, y, 1, 4",
    "orders": "client, day\n1, 2020-05-01\n2, 2021-05-01",
    "ties": "a, b, sort, strength, since\n1, 2, kin, 0.5, 2020-01-01\n2, 1, kin, 0.25, 2020-01-01\n1, 2, kin, 0.5, 2020-01-01\n"
            "3, 3, kin, 1, 2020-01-01\n1, 9, work, 1, 2020-01-01\n2, 3, work, , 2021-12-31\n3, 4, work, 1, 2022-01-01",
    "plain": "a, b\n1, 2\n4, 1",
}  # fmt: skip
WHO = {"kind": "attributes", "table": "clients", "columns": ["age"]}
TIES = {"kind": "graph", "relation": "ties", "nodes": ["who"]}


def office(
    folder: Path,
    features: dict[str, Any],
    files: dict[str, str] | None = None,
    target: Any = None,
    **cohort: Any,
) -> Made:
    data = Dataset.model_validate({"entity": "clients", "tables": TABLES, "relations": BONDS})
    folder = tiny(folder, FILES | (files or {}))
    orders = {"kind": "windows", "table": "orders", "features": [{"agg": "count"}]}
    return make(
        folder,
        declare(
            {"cutoffs": ["2022-01-01"]} | cohort, {"who": WHO, "orders": orders} | features, target, data
        ),
    )


def edges(nodes: Nodes, kind: str) -> list[tuple[int, int, float]]:
    """(who hears, whom, weight), entities counted from 1."""
    relation = nodes.relations[kind]
    hears = np.repeat(np.arange(len(relation.indptr) - 1), np.diff(relation.indptr))
    return [
        (int(a) + 1, int(b) + 1, float(w))
        for a, b, w in zip(hears, relation.indices, relation.weight, strict=True)
    ]


def test_duplicates_count_loops_do_not_and_the_cutoffs_own_day_is_not_known(tmp_path: Path) -> None:
    nodes = office(tmp_path, {"g": TIES | {"types": ["kin", "work"]}}).matrix().graphs[0]
    assert edges(nodes, "kin") == [
        (1, 2, 0.25),
        (1, 2, 0.5),
        (1, 2, 0.5),
        (2, 1, 0.25),
        (2, 1, 0.5),
        (2, 1, 0.5),
    ]
    assert edges(nodes, "work") == [(2, 3, 1.0), (3, 2, 1.0)]  # without a weight: 1
    assert nodes.dropped == {"kin": 0, "work": 1}


def test_duplicates_count_as_neighbours_count_them(tmp_path: Path) -> None:
    near = {"kind": "neighbours", "relation": "ties", "features": [
        {"name": "n", "agg": "count"}, {"name": "w", "agg": "count", "weight": True}]}  # fmt: skip
    matrix = office(tmp_path, {"g": TIES, "near": near}).matrix()
    relation = matrix.graphs[0].relations["ties"]
    hears = np.repeat(np.arange(4), np.diff(relation.indptr))
    unknown = np.array([1, 0, 0, 0])  # neighbours counts 1's edge to an entity that nobody knows
    assert (np.diff(relation.indptr) + unknown).tolist() == matrix.columns["near.n"].tolist()
    np.testing.assert_allclose(np.bincount(hears, relation.weight, 4) + unknown, matrix.columns["near.w"])


def test_a_directed_relation_is_heard_one_way(tmp_path: Path) -> None:
    nodes = office(tmp_path, {"g": TIES | {"relation": "plain"}}).matrix().graphs[0]
    assert edges(nodes, "plain") == [(1, 2, 1.0), (4, 1, 1.0)]


def test_nodes_are_those_whom_the_cohort_leaves_out_as_well(tmp_path: Path) -> None:
    matrix = office(tmp_path, {"g": TIES}, where="age > 35", having=[{"table": "orders"}]).matrix()
    assert matrix.entity.tolist() == ["2"]
    nodes = matrix.graphs[0]
    assert nodes.row_node.tolist() == [1]
    assert nodes.columns["who.age"].tolist() == [30, 40, 50, 60]
    assert [b for a, b, _ in edges(nodes, "ties") if a == 2] == [1, 1, 1, 3]


def test_without_cutoffs_an_undated_relation_will_do(tmp_path: Path) -> None:
    data = Dataset.model_validate({"entity": "clients", "tables": TABLES, "relations": BONDS})
    features = {"who": WHO, "g": TIES | {"relation": "plain"}}
    for number, cohort in enumerate(({}, {"where": "age > 35"})):
        folder = tiny(tmp_path / str(number), FILES)
        nodes = make(folder, declare({"cutoffs": None} | cohort, features, data=data)).matrix().graphs[0]
        assert edges(nodes, "plain") == [(1, 2, 1.0), (4, 1, 1.0)]
    with pytest.raises(ConfigError, match=r"feature set `g` looks at table `ties`, which has a clock"):
        make(folder, declare({"cutoffs": None}, features | {"g": TIES}, data=data))


def test_a_relation_without_edges_is_empty_and_noted(tmp_path: Path) -> None:
    matrix = office(
        tmp_path, {"g": TIES}, {"ties": "a, b, sort, strength, since\n3, 4, work, 1, 2022-01-01"}
    ).matrix()
    relation = matrix.graphs[0].relations["ties"]
    assert (relation.indptr.tolist(), len(relation.indices), len(relation.weight)) == ([0, 0, 0, 0, 0], 0, 0)
    assert matrix.notes() == ["graph `g`: relation `ties` has no edge at any cutoff"]


def test_the_order_of_edges_is_not_that_of_the_file() -> None:
    rng = np.random.default_rng(0)
    hears, heard_, weight = (
        rng.integers(0, 5, 200),
        rng.integers(0, 5, 200),
        rng.integers(0, 4, 200).astype(np.float32),
    )
    first = compressed(hears, heard_, weight, 5)
    order = rng.permutation(200)
    again = compressed(hears[order], heard_[order], weight[order], 5)
    for one, other in zip(
        (first.indptr, first.indices, first.weight), (again.indptr, again.indices, again.weight), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    rows = np.repeat(np.arange(5), np.diff(first.indptr))
    wanted = sorted(zip(hears.tolist(), heard_.tolist(), weight.tolist(), strict=True))
    assert list(zip(rows.tolist(), first.indices.tolist(), first.weight.tolist(), strict=True)) == wanted


def test_a_weight_that_is_no_number_is_named(tmp_path: Path) -> None:
    made = office(tmp_path, {"g": TIES}, {"ties": "a, b, sort, strength, since\n1, 2, kin, 1e39, 2020-01-01"})
    with pytest.raises(DataError, match=r"relation `g.ties` has weights that are no numbers"):
        made.matrix()
    assert edges(office(tmp_path, {"g": TIES | {"weight": False}}).matrix().graphs[0], "ties")


# --- what is refused --------------------------------------------------------------------------------


def recipe(folder: Path, graph: dict[str, Any], persons: int = 200, **parts: Any) -> Config:
    frame, events = people(persons)
    rng = np.random.default_rng(1)
    ids, n = frame["id"].to_numpy(), 3 * persons
    ties = pd.DataFrame({
        "a": rng.choice(ids, n), "b": rng.choice(ids, n), "sort": rng.choice(["kin", "work"], n), "strength": np.round(rng.random(n), 2),
        "since": (np.datetime64("2018-01-01") + rng.integers(0, 1826, n)).astype(str),
    })  # fmt: skip
    config = dated(folder, frame, events, {"ties": (ties, TABLES["ties"])})
    whole = config.model_dump(mode="json", by_alias=True)
    whole["dataset"]["relations"] = {
        "ties": BONDS["ties"] | {"table": "ties"},
        "bare": {"table": "ties", "ends": ["a", "b"]},
    }
    whole["features"]["g"] = {"kind": "graph", "relation": "ties", "nodes": ["history"]} | graph
    return Config.model_validate(whole | parts)


@pytest.mark.parametrize(
    ("wrong", "place", "says"),
    [
        ({"relation": "tie"}, ("features", "g", "relation"), "no relation is called `tie`; did you mean `ties`"),
        ({"types": ["kim"]}, ("features", "g", "types", 0), "has no value `kim`; did you mean `kin`"),
        ({"relation": "bare", "types": ["kin"]}, ("features", "g", "types"), "relation `bare` declares no `type`"),
        ({"relation": "bare", "weight": True}, ("features", "g", "weight"), "relation `bare` declares no `weight`"),
        ({"nodes": ["who", "histroy"]}, ("features", "g", "nodes", 1), "is called `histroy`; did you mean `history`"),
        ({"nodes": ["g"]}, ("features", "g", "nodes", 0), "feature set `g` is a graph and gives a node no columns"),
        ({"nodes": []}, ("features", "g", "graph", "nodes"), "at least 1 item"),
        ({"nodes": ["who", "who"]}, ("features", "g", "graph"), "`nodes` names `who` twice"),
    ],
)  # fmt: skip
def test_names_that_mean_nothing_are_told_with_their_place(
    tmp_path: Path, wrong: dict[str, Any], place: tuple[Any, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=r"error") as error:
        recipe(tmp_path, wrong)
    (first, *_) = error.value.errors()  # type: ignore[attr-defined]
    assert first["loc"] == place
    assert says in first["msg"]


def test_on_the_command_line_the_file_and_line_are_told(work: Work, tmp_path: Path) -> None:
    work.write({"conf/features/near.yaml": "kind: graph\nrelation: relationships\nnodes: [donor_profle]\n"})
    said = work.refused("show", "recipe=donor_multitarget", "features=[donor_profile,near]")
    assert "conf/features/near.yaml:3" in said
    assert "did you mean `donor_profile`" in said


def test_what_gets_past_the_validators_is_refused_by_the_compiler(tmp_path: Path) -> None:
    for wrong, says in (
        ({"nodes": ["whom"]}, "no feature set with columns is called `whom`"),
        ({"relation": "tie"}, "no relation is called `tie`"),
        ({"relation": "plain", "weight": True}, "relation `plain` declares no `weight`"),
        ({"relation": "plain", "types": ["kin"]}, "relation `plain` declares no `type`"),
    ):
        with pytest.raises(ConfigError) as error:
            office(tmp_path, {"g": TIES | wrong})
        assert says in error.value.what
        assert error.value.fix


@pytest.mark.parametrize(
    ("label", "graph", "refused"),
    [
        ("plan", {"types": ["x"], "weight": False}, True),
        ("pull", {}, True),
        ("boss", {"weight": False}, True),
        ("plan", {}, False),
        ("pull", {"types": ["x"], "weight": False}, False),
    ],
)
def test_edges_made_of_the_label_are_refused(
    tmp_path: Path, label: str, graph: dict[str, Any], refused: bool
) -> None:
    """A relation within the table of entities, whose kind, weight or end is to be predicted."""
    target = {
        "it": {"kind": "column", "column": label, "type": "regression" if label == "pull" else "multiclass"}
    }
    features = {"g": TIES | {"relation": "bosses"} | graph}
    if not refused:
        assert office(tmp_path, features, target=target).compiled.graphs
        return
    with pytest.raises(
        LeakError, match=f"made of `clients.{label}`, which target `it` derives from"
    ) as error:
        office(tmp_path, features, target=target)
    assert error.value.where == "features.g"


def test_nodes_do_not_carry_the_label_either(tmp_path: Path) -> None:
    target = {"it": {"kind": "column", "column": "plan", "type": "multiclass"}}
    everything = {"kind": "attributes", "table": "clients"}
    made = office(
        tmp_path, {"all": everything, "g": TIES | {"nodes": ["all"]}}, target=target, where="age > 35"
    )
    assert "all.plan" not in made.matrix().graphs[0].columns
    assert "all.age" in made.matrix().graphs[0].columns


def test_what_was_made_once_is_found_again(tmp_path: Path) -> None:
    def built(features: dict[str, Any], **cohort: Any) -> list[str]:
        made = office(tmp_path, features, **cohort)
        made.cache = Cache(tmp_path / "cache")
        made.matrix()
        return made.cache.built

    assert built({"g": TIES}) == [
        "features:who",
        "features:orders",
        "features:g",
    ]  # nodes are rows: nothing twice
    assert built({"g": TIES}) == []
    assert built({"g": TIES | {"weight": False}}) == ["features:g"]
    assert built({"g": TIES}, where="age > 35") == [
        "features:who",
        "features:orders",
        "features:who",
        "features:g",
    ]
    assert built({"g": TIES}, where="age > 35") == []
    assert built({"g": TIES}, where="age > 45") == [
        "features:who",
        "features:orders",
    ]  # the nodes are the same


def test_the_fingerprint_covers_the_graph(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {}, {"types": ["kin", "work"]}, {"types": ["work", "kin"]}, {"weight": False}, {"nodes": ["orders"]}, {"relation": "plain"},
    ]  # fmt: skip
    prints = [matrices.fingerprint(office(tmp_path, {"g": TIES | more}).compiled) for more in variants]
    assert len(set(prints)) == len(prints)
    assert prints[0] == matrices.fingerprint(office(tmp_path, {"g": TIES}).compiled)


# --- proofs -----------------------------------------------------------------------------------------


def failures(config: Config) -> list[str]:
    return [proof.text for proof in all_proofs(config, quiet) if not proof.holds]


def test_the_graph_is_proved_to_be_of_the_past(tmp_path: Path) -> None:
    proofs = all_proofs(recipe(tmp_path, {"types": ["kin", "work"]}), quiet)
    assert [proof.text for proof in proofs if not proof.holds] == []
    said = [proof.text for proof in proofs if "2 relations between 200 nodes" in proof.text]
    assert [text[:10] for text in said] == ["2020-01-01", "2021-01-01", "2022-01-01"]
    assert all(" features of theirs stay the same" in text for text in said)


def test_edges_that_are_not_known_yet_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = matrices.compile_graph

    def a_month_ahead(*arguments: Any) -> Any:
        compiled = honest(*arguments)
        text = sql.render(compiled.query.tree)
        wrong = text.replace('"t"."@known" <= ', '"t"."@known" <= INTERVAL \'30\' DAY + ')
        assert wrong != text
        object.__setattr__(compiled.query, "tree", sqlglot.parse_one(wrong, dialect="duckdb"))
        return compiled

    monkeypatch.setattr(matrices, "compile_graph", a_month_ahead)
    said = failures(recipe(tmp_path, {}))
    assert said
    assert all("relation `g.ties` changes for" in text for text in said)


def test_scrambled_rows_change_places_and_nodes_stay(tmp_path: Path) -> None:
    matrix = office(tmp_path, {"g": TIES}, cutoffs=["2021-01-01", "2022-01-01"]).matrix()
    rows = np.arange(8) >= 4
    found, before = scramble_rows(matrix, rows, np.random.default_rng(1)).graphs[0], matrix.graphs[0]
    assert found.row_node[:4].tolist() == [0, 1, 2, 3]
    assert sorted(found.row_node[4:]) == [4, 5, 6, 7]
    assert found.row_node[4:].tolist() != [4, 5, 6, 7]
    assert found.columns is before.columns
    assert found.relations is before.relations
    assert before.row_node.tolist() == list(range(8))
    assert some_rows(matrix, np.array([5, 2])).graphs[0].row_node.tolist() == [5, 2]


def test_a_large_cohort_is_proved_on_a_sample_of_rows_and_by_all_edges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(futures, "ROWS", 60)
    proofs = all_proofs(recipe(tmp_path, {}), quiet)
    assert all(proof.holds for proof in proofs)
    said = [proof.text for proof in proofs if "1 relations between 200 nodes and " in proof.text]
    assert len(said) == 3
    rows = [int(found) for text in said for found in re.findall(r"features of (\d+) rows", text)]
    assert all(20 < count < 100 for count in rows)


# --- plan, bundle, scores ---------------------------------------------------------------------------

EVENTS = {"kind": "sequence", "table": "events", "last": 5, "columns": ["amount"]}


class Looks:
    """Stands for a model that looks at events and neighbours: their newest amount, and what 1 + 2 + … neighbours gave."""

    def predict(self, X: np.ndarray, modalities: Modalities) -> list[np.ndarray]:
        assert len(X) == len(modalities.sequences[0])
        events, graph = modalities.sequences[0], modalities.graphs[0]
        amount = np.zeros(len(X))
        some = events.lengths > 0
        amount[some] = events.numeric[events.offsets[1:][some] - 1, 0]
        relation = graph.relations["ties"]
        given = np.nan_to_num(
            graph.X[:, [column.name for column in graph.features].index("history.amount_sum_all")]
        )
        hears = np.repeat(np.arange(len(graph.X)), np.diff(relation.indptr))
        near = np.bincount(hears, given[relation.indices] * relation.weight, len(graph.X))
        return [1 / (1 + np.exp(-(amount + near[graph.row_node]) / 1000))]


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bundled")
    config = recipe(folder, {})
    config = Config.model_validate(
        config.model_dump(mode="json", by_alias=True)
        | {"features": {**config.model_dump(mode="json")["features"], "e": EVENTS}}
    )
    ran = experiment(config)
    with ran.place:
        outcome = ran.run()
        bundling.write(config, ran.prepared.compiled, outcome, folder / "bundle")
        text = plan.text(config, ran.prepared)
    return config, ran.prepared, outcome, folder / "bundle", text


def test_the_plan_shows_events_and_edges_and_its_sql_runs(bundled: Any) -> None:
    _, prepared, _, _, text = bundled
    assert "SEQUENCES (1)\n  e: the last 5 rows of events; 100.0% of rows have any, " in text
    assert (
        "    e.amount  [numeric; window all]  amount of each event; from events.amount, events.day\n" in text
    )
    assert "GRAPHS (1)\n  g: 600 nodes with 17 features (history); " in text
    edges = len(prepared.matrix.graphs[0].relations["ties"].indices) // 2
    assert f"    g.ties  [{edges:,} edges, both ways]  edges of ties, weighted; from ties.a, ties.b, " in text
    script = text[text.index("\nSQL\n") + 5 :]
    engine = duckdb.connect()
    found = {}
    for statement in script.split(";\n"):
        comment = statement.strip().partition("\n")[0].removeprefix("-- ")
        result = engine.execute(statement) if statement.strip() else None
        if result and comment.startswith(("features", "the node")):
            found[comment] = len(result.fetchall())
    assert found["features e"] == len(prepared.matrix.sequences[0].numeric)
    assert found["features g"] == edges
    assert found["the node of each row"] == len(prepared.matrix)
    assert found["features history of the nodes"] > 0


def test_new_tables_are_scored_with_events_and_neighbours(bundled: Any, tmp_path: Path) -> None:
    config, prepared, outcome, folder, _ = bundled
    read = bundling.read(folder)
    assert read.features[-4:] == ("e.amount", "e.gap", "e.age", "g.ties")
    scorer = replace(read, models={head.model: Looks() for head in read.heads})
    matrix = prepared.matrix

    def scored(scorer: Any) -> dict[str, float]:
        done = score(scorer, config.source, "2022-01-01", Cache(tmp_path / "cache"), config.engine)
        return dict(zip(done.matrix.entity, done.raw["again"], strict=True))

    rows = np.flatnonzero(matrix.cutoff == np.datetime64("2022-01-01"))
    encoder = outcome.encoder
    wanted = Looks().predict(
        encoder.transform(matrix.columns).X[rows],
        encoder.modalities([e.some(rows) for e in matrix.sequences], [n.some(rows) for n in matrix.graphs]),
    )[0]
    found = scored(scorer)
    assert found == dict(zip(matrix.entity[rows], wanted, strict=True))
    assert len(set(found.values())) > 100

    one = matrix.entity[rows[7]]  # alone in its cohort, and its neighbours are still there
    declared = scorer.declaration
    alone = replace(declared, cohort=declared.cohort.model_copy(update={"where": f"id = '{one}'"}))
    assert scored(replace(scorer, declaration=alone)) == {one: found[one]}


def test_a_bundle_whose_events_are_others_is_refused(bundled: Any, tmp_path: Path) -> None:
    config, _, _, folder, _ = bundled
    scorer = bundling.read(folder)
    features = dict(scorer.declaration.features)
    features["e"] = features["e"].model_copy(update={"time": ["gap"]})
    other = replace(scorer, declaration=replace(scorer.declaration, features=features))
    with pytest.raises(BundleError, match="the features that this input gives are not those of the bundle"):
        score(other, config.source, "2022-01-01", Cache(tmp_path / "cache"), config.engine)


def test_texts_of_events_that_training_never_saw_are_counted() -> None:
    def events(codes: list[int], levels: tuple[str, ...]) -> Sequences:
        offsets, numeric = np.array([0, 2, 2, 3]), np.empty((3, 0), np.float32)
        return Sequences("s", offsets, numeric, np.array(codes, np.int32)[:, None], (), (("kind", levels),))

    raw = events([1, 1, -1], ("a", "new"))
    encoder = Encoder(()).with_events([events([0, 0, 0], ("a",))])
    assert unseen_events([raw], encoder.modalities([raw], []).sequences) == {"s.kind": 1}
