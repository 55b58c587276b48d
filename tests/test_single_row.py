"""Single rows: the answer is batch scoring's, whatever the model; what is wrong with a row is told by name."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHOP, Files, Work, write_files
from small import real

from toolkit import bundling
from toolkit.cli.main import main
from toolkit.cli.scoring import source_of
from toolkit.data.cache import Cache
from toolkit.errors import BundleError, DataError
from toolkit.scoring import batch, rows
from toolkit.scoring.batch import Scored
from toolkit.scoring.rows import Rows

CLOSE = 1e-9
QUICK = ("report.html=false", "evaluation.bootstrap=0", "engine.threads=1")
MODELS = {
    "logistic": [],
    "random_forest": ["model.random_forest.trees=20"],
    "lightgbm": ["model.lightgbm.num_iterations=30"],
    "xgboost": ["model.xgboost.num_boost_round=30"],
    "hist_gbm": ["model.hist_gbm.max_iterations=30"],
    "rule": [],
    "prior": [],
    "logistic,lightgbm,blend": ["model.lightgbm.num_iterations=30"],
}


def flat_files(count: int = 400) -> Files:
    """A flat table with texts, numbers with a decimal comma, dates, yes and no, and gaps."""
    rng = np.random.default_rng(0)
    age, plan = rng.integers(18, 90, count), rng.choice(["a", "b", "c"], count)
    price = rng.normal(50, 20, count)
    yes = rng.random(count) < 1 / (1 + np.exp(-(age - 50) / 15 - (plan == "a") + (price - 50) / 30))
    frame = pd.DataFrame({
        "id": [f"{n:04d}" for n in range(count)], "plan": plan, "age": age, "paid": rng.choice(["true", "false"], count),
        "price": [f"{p:.2f}".replace(".", ",") for p in price],
        "since": [f"2020-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in range(count)],
        "label": np.where(yes, "yes", "no"),
    })  # fmt: skip
    for name in ("plan", "price", "since"):
        frame.loc[rng.random(count) < 0.1, name] = ""
    return {"data/rows.csv": frame.to_csv(index=False, sep=";")}


def bundle_of(work: Work, *words: str) -> Path:
    said = work.run(*words, *QUICK)
    assert said.code == 0, said.err
    return max(work.runs(), key=lambda run: run.stat().st_mtime)


def in_batch(run: Path, data: Path | None = None) -> Scored:
    """The run's own tables, scored as a batch; data: the folder where they are, if that is no longer the run's."""
    given = {"input": str(data), "cache": str(run.parent / "cache")} if data else {}
    source, root = source_of(run / "config.yaml", given)
    scorer = bundling.read(run / "bundle")
    return batch.score(scorer, source, None, Cache(Path(root)), scorer.engine)


def as_rows(scored: Scored) -> list[dict[str, Any]]:
    """The features of each row as JSON has them."""
    columns = {name: pd.Series(values).astype(object) for name, values in scored.matrix.columns.items()}
    frame = pd.DataFrame(columns)
    told = frame.where(frame.notna(), None).to_dict("records")
    return [json.loads(json.dumps(row, default=float)) for row in told]


def differs(one: Rows, scored: Scored, given: list[dict[str, Any]]) -> float:
    """The largest difference of any probability to the batch's; decisions are equal."""
    worst = 0.0
    for place, row in enumerate(given):
        answer = one.score(row)["targets"]
        for head in one.scorer.heads:
            found, batch_says = answer[head.name], scored.probability[head.name][place]
            if head.type == "multiclass":
                found = found | {"probability": list(found["probability"].values())}
            worst = max(worst, np.abs(np.array(found["probability"]) - batch_says).max())
            if head.type == "binary" and not (head.threshold and head.threshold.by_rank):
                assert found["decision"] == bool(scored.decision[head.name][place])
    return worst


def once(folder: Path, files: Files, *words: str) -> Path:
    """A run in a folder of its own."""
    write_files(folder, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*words, *QUICK, f"hydra.run.dir={folder / 'run'}"]) == 0
        return folder / "run"


@pytest.fixture(scope="module")
def donors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory.mktemp("donors"), {}, "recipe=donor_retention", "model=[logistic]")


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory.mktemp("flat"), SHOP | flat_files(), "recipe=flat", "model=[lightgbm]")


class TestTheSameAsABatch:
    @pytest.mark.parametrize("model", MODELS)
    def test_by_features_of_dated_tables(
        self, work: Work, model: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        cache = f"cache={tmp_path_factory.getbasetemp() / 'cache'}"
        run = bundle_of(work, "recipe=donor_retention", f"model=[{model}]", *MODELS[model], cache)
        scored, one = in_batch(run), Rows.read(run / "bundle")
        some = slice(0, 60)
        assert one.cells is None
        assert "moment" in one.why_not
        assert differs(one, scored, as_rows(scored)[some]) <= CLOSE

    def test_by_features_and_by_columns_of_one_table(self, flat: Path) -> None:
        scored, one = in_batch(flat, flat.parent / "data"), Rows.read(flat / "bundle")
        assert differs(one, scored, as_rows(scored)) <= CLOSE
        raw = pd.read_csv(flat.parent / "data/rows.csv", sep=";", dtype=str, keep_default_na=False)
        by_key = raw.set_index("id", drop=False).loc[scored.matrix.entity[:80]]
        assert differs(one, scored, by_key.to_dict("records")) <= CLOSE
        numbers = [  # numbers as numbers, gaps as null, the label left out
            {k: None if v == "" else float(v.replace(",", ".")) if k == "price" else int(v) if k == "age" else v == "true" if k == "paid" else v
             for k, v in row.items() if k != "label"}
            for row in by_key.to_dict("records")
        ]  # fmt: skip
        assert differs(one, scored, numbers) <= CLOSE

    def test_a_difference_would_be_seen(self, flat: Path) -> None:
        scored, one = in_batch(flat, flat.parent / "data"), Rows.read(flat / "bundle")
        given = as_rows(scored)
        given[3]["columns.age"] = 18.0 if given[3]["columns.age"] > 50 else 89.0
        assert differs(one, scored, given) > 0.01

    def test_on_real_columns(self, tmp_path: Path) -> None:
        folder = real("telco_churn")
        words = (
            f"recipe=flat_churn source.path={folder} model=[xgboost] model.xgboost.num_boost_round=20".split()
        )
        run = once(tmp_path, {}, *words)
        scored, one = in_batch(run, folder), Rows.read(run / "bundle")
        raw = pd.read_csv(folder / "telco_churn.csv", dtype=str, keep_default_na=False)
        some = raw.set_index("customerID", drop=False).loc[scored.matrix.entity[:150]]
        assert differs(one, scored, some.to_dict("records")) <= CLOSE

    def test_a_forest_tree_by_tree_is_the_forest_to_the_bit(self, work: Work) -> None:
        work.write(flat_files())
        run = bundle_of(work, "recipe=flat", "model=[random_forest]", "model.random_forest.trees=30")
        scored = in_batch(run)
        assert differs(Rows.read(run / "bundle"), scored, as_rows(scored)) == 0

    def test_derived_columns_and_the_cohort_are_the_declared_ones(self, work: Work) -> None:
        work.write(flat_files())
        work.write({"conf/dataset/flat.yaml": """\
entity: rows
tables:
  rows:
    read: rows.csv
    key: id
    known: always
    infer: true
    columns: {age: {type: integer, ge: 0, le: 120, missing: ["-1"]}, plan: {type: text, values: [a, b, c]}}
    derive: {old: age > 60, dear: 'price * coalesce(age, 50)'}
"""})  # fmt: skip
        run = bundle_of(work, "recipe=flat", "model=[lightgbm]", "+cohort.where='age >= 20'")
        scored, one = in_batch(run), Rows.read(run / "bundle")
        raw = pd.read_csv(work.folder / "data/rows.csv", sep=";", dtype=str, keep_default_na=False)
        kept = raw.set_index("id", drop=False).loc[scored.matrix.entity[:80]]
        assert 0 < len(scored.matrix) < len(raw)
        assert differs(one, scored, kept.to_dict("records")) <= CLOSE
        row = kept.iloc[0].to_dict()
        for change, said in [
            ({"age": 19}, "none of the cohort"), ({"age": 130}, "`age` is not <= 120"), ({"age": "old"}, "`age` is not a whole number"),
            ({"plan": "z"}, "`plan` is not one of its declared values"), ({"since": "soon"}, "`since` is not a date"),
        ]:  # fmt: skip
            with pytest.raises(DataError, match=said):
                one.score(row | change)
        with pytest.raises(DataError, match="none of the cohort"):
            one.score(row | {"age": -1})  # stands for a missing age

    def test_expressions_over_features_are_computed(self, work: Work) -> None:
        work.write(flat_files())
        work.write({
            "conf/features/made.yaml": """\
kind: expressions
features:
  third: columns.price / 3 + coalesce(columns.age, 50)
  planned: CASE WHEN columns.plan = 'a' THEN 1 WHEN columns.plan IS NULL THEN 2 ELSE 0.1 END
""",
            "conf/features/columns.yaml": "kind: attributes\ntable: rows\ncolumns: [plan, age, price]\n",
        })  # fmt: skip
        run = bundle_of(work, "recipe=flat", "model=[lightgbm]", "features=[columns,made]")
        scored, one = in_batch(run), Rows.read(run / "bundle")
        given = as_rows(scored)
        bare = [{name: v for name, v in row.items() if not name.startswith("made.")} for row in given]
        assert differs(one, scored, bare) == differs(one, scored, given) == 0
        for row, short in zip(given[:50], bare[:50], strict=True):  # and the features are the same to the bit
            features = one.made.of(short, one.scorer.encoder.row(short)[0])
            for name, value in features.items():
                assert (value is None and row[name] is None) or np.float32(value) == np.float32(row[name])
        raw = pd.read_csv(work.folder / "data/rows.csv", sep=";", dtype=str, keep_default_na=False)
        by_column = raw.set_index("id", drop=False).loc[scored.matrix.entity[:80]]
        assert differs(one, scored, by_column.to_dict("records")) == 0

        assert "absent" not in one.score(bare[0])
        assert one.score({"columns.plan": "a"})["absent"] == ["columns.age", "columns.price", "made.third"]
        said = one.score(given[0] | {"made.third": 900.0})  # what a row says itself is not computed
        assert said != one.score(given[0])


class TestWhatAnAnswerSays:
    def test_whose_row_it_is_what_was_never_seen_and_what_it_lacks(self, flat: Path) -> None:
        one = Rows.read(flat / "bundle")
        answer = one.score({"id": "x7", "plan": "z", "age": 40})
        assert answer["entity"] == "x7"
        assert answer["unseen"] == {"columns.plan": "z"}
        assert answer["absent"] == ["paid", "price", "since"]
        assert (
            answer["targets"] == one.score({"plan": None, "age": 40})["targets"]
        )  # what is unknown is missing

    def test_reasons_in_words_strongest_first(self, flat: Path) -> None:
        one = Rows.read(flat / "bundle", reasons=2)
        told = one.score(one.example() | {"columns.age": 88})["targets"]["label"]["reasons"]
        assert any(text.startswith("age of rows: 88 (usual: ") for text in told)
        assert len(told) == 2

    def test_its_example_is_what_is_usual(self, flat: Path) -> None:
        one = Rows.read(flat / "bundle")
        assert set(one.example()) == set(one.names)
        assert one.example()["columns.plan"] in {"a", "b", "c"}
        assert one.line(json.dumps(one.example())) == json.dumps(one.score(one.example()))

    def test_of_a_list_with_a_capacity_a_row_alone_is_cut_by_score(self, work: Work) -> None:
        work.write(flat_files())
        run = bundle_of(work, "recipe=flat", "threshold=fill_capacity", "threshold.count=20")
        one = Rows.read(run / "bundle")
        assert "where the cut lay on validation" in one.notes[0]
        scored = in_batch(run)
        cut = one.scorer.heads[0].threshold.value
        for row, raw in zip(as_rows(scored), scored.raw["label"], strict=True):
            assert one.score(row)["targets"]["label"]["decision"] == (raw >= cut)

    def test_an_older_bundle_has_no_reasons_but_scores(self, flat: Path) -> None:
        older = replace(bundling.read(flat / "bundle"), told=(), usual=None)
        assert Rows(older).score({"age": 40})["targets"]
        with pytest.raises(BundleError, match="does not say what is usual"):
            Rows(older, reasons=1)


class TestBadRows:
    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ({"columns.aeg": 3}, "did you mean `columns.age`"),
            ({"aeg": 3}, "did you mean `age`"),
            ({"columns.age": 3, "plan": "a"}, "not by both"),
            ({"columns.age": "3"}, "`columns.age` is a number, and the row has '3'"),
            ({"columns.age": [3]}, "`columns.age` is a number"),
            ({"columns.plan": True}, "`columns.plan` is a text"),
            ({"columns.age": 1e300}, "infinite or beyond 3.4e38"),
            ({"columns.age": 10**400}, "infinite or beyond 3.4e38"),
            ({"age": {"years": 3}}, "`age` is a whole number, and the row has"),
            ({"age": float("inf")}, "`age` is not a whole number"),
            ({"plan": "a\0"}, "NUL"),
        ],
    )  # fmt: skip
    def test_are_refused_by_name(self, flat: Path, row: dict[str, Any], said: str) -> None:
        with pytest.raises(DataError) as refused:
            Rows.read(flat / "bundle").score(row)
        assert said in str(refused.value)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            '{"plan": "\\ud800"}',
            "[1]",
            "3",
            '{"age": 3, "age": 4}',
            "\ufeff{",
            b"\xff",
            "[" * 100_000,
        ],
    )
    def test_what_is_no_object_is_no_row(self, flat: Path, text: Any) -> None:
        with pytest.raises(DataError, match="the row is no JSON"):
            Rows.read(flat / "bundle").line(text)

    def test_a_quote_in_a_text_is_a_text(self, flat: Path) -> None:
        said = Rows.read(flat / "bundle").score({"plan": "a'); DROP TABLE x; --", "age": 40})
        assert said["unseen"] == {"columns.plan": "a'); DROP TABLE x; --"}

    def test_columns_of_a_dated_bundle_are_refused_with_the_reason(self, donors: Path) -> None:
        with pytest.raises(DataError) as refused:
            Rows.read(donors / "bundle").score({"segment": "A"})
        assert "the cohort has cutoffs" in str(refused.value)

    def test_a_model_of_events_is_refused_by_name(self, flat: Path) -> None:
        scorer = bundling.read(flat / "bundle")

        class Network:
            reads_more = True

        with pytest.raises(BundleError, match="reads more than a row's columns"):
            Rows(replace(scorer, models={scorer.heads[0].model: Network()}))  # type: ignore[dict-item]


class TestTheVerb:
    def test_a_row_and_an_example(self, work: Work, flat: Path) -> None:
        said = work.run("score", f"run={flat}", "row=example")
        assert said.code == 0
        again = work.run("score", f"run={flat}", f"row={said.out}", "reasons=1")
        found = json.loads(again.out)["targets"]["label"]
        assert 0 < found["probability"] < 1
        assert len(found["reasons"]) <= 1

    def test_lines_in_and_lines_out_each_bad_one_in_its_place(
        self, work: Work, flat: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines = b'{"id": "1", "age": 40}\n\n{"id": "2", "aeg": 40}\nno\n{"id": "4", "age": 41}\n'
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        said = work.run("score", f"run={flat}", "input=-")
        first, second, third, fourth = map(json.loads, said.out.splitlines())
        assert said.code == 1
        assert (first["entity"], fourth["entity"]) == ("1", "4")
        assert (second["line"], third["line"]) == (3, 4)
        assert "did you mean `age`" in second["fix"]
        assert "4 rows: 2 scored, 2 refused; a row took" in said.err
        assert "ms (p99)" in said.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["row={}", "cutoff=latest"], "`cutoff=` goes with tables"),
            (["row={}", "input=-"], "both say what to score"),
            (["row={}", "reasons=many"], "is no number from 0 to 10"),
            (["reasons=2"], "goes with single rows"),
            (['row={"aeg": 3}'], "did you mean `age`"),
        ],
    )
    def test_mistakes(self, work: Work, flat: Path, words: list[str], said: str) -> None:
        found = work.run("score", f"run={flat}", *words)
        assert found.code == 2
        assert said in found.err
        assert "Traceback" not in found.err


def test_names_are_named_once() -> None:
    with pytest.raises(DataError) as refused:
        rows.parsed('{"a": 1, "b": 2, "a": 3}')
    assert "names `a` twice" in str(refused.value)
