"""Models that read texts: against scikit-learn, on whose rows they learn their words, how they are kept and told.

The texts are made of words of three groups; a text of a group says words of its own and some of its neighbour's.
"""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHOP, Work, write_files
from pydantic import ValidationError
from small import config, dated, experiment, people, quiet, real

from toolkit import bundling
from toolkit.cli.main import main
from toolkit.cli.scoring import source_of
from toolkit.data.cache import Cache
from toolkit.errors import BundleError, ConfigError, DataError, LeakError
from toolkit.modalities import Modalities, Texts
from toolkit.models import Batch, Column, Explains, Task, store
from toolkit.models.explain import sayings, telling_words
from toolkit.models.inputs import Inputs, TextInputs
from toolkit.models.lightgbm import LightGBM
from toolkit.models.linear import Logistic
from toolkit.models.text import Characters, TextVectors, Tfidf
from toolkit.models.tfidf_linear import TfidfLinear
from toolkit.models.xgboost import XGBoost
from toolkit.proof import all_proofs
from toolkit.proof.held_out import held_out
from toolkit.report.explain import explain
from toolkit.scoring import batch
from toolkit.scoring.rows import Rows
from toolkit.training import experiment as experiments

YES, NUMBER = Task("will", "binary"), Task("much", "regression")
WHICH = Task("which", "multiclass", ("a", "b", "c"))
TASKS = [WHICH, YES, NUMBER]
COLUMNS = [Column("x"), Column("plan", "categorical", ("p", "q"))]
SAMPLE = [f"{group}{letter}{number}" for group in "abc" for letter in "xyz" for number in range(20)]
SMALL = TextInputs(reduce=12)
MODELS: dict[str, Any] = {
    "logistic": TfidfLinear(),
    "svm": TfidfLinear(classifier="svm", columns=True, text=Tfidf(ngrams=2, characters=Characters(size=300))),
    "lightgbm": LightGBM(num_iterations=15, early_stopping_rounds=None, inputs=Inputs(text=SMALL)),
    "xgboost": XGBoost(num_boost_round=15, early_stopping_rounds=None, inputs=Inputs(text=SMALL, one_hot=True)),
    "columns": Logistic(inputs=Inputs(text=SMALL, scale=True)),
}  # fmt: skip


def texts(group: np.ndarray, seed: int) -> np.ndarray:
    """object [rows]: 25 words each; every fortieth has no text."""
    rng = np.random.default_rng(seed)
    said = np.array([" ".join(rng.choice(SAMPLE[g * 60 : g * 60 + 100], 25)) for g in group], object)
    said[::40] = None
    return said


def rows(n: int = 240, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    X = np.column_stack([rng.normal(size=n) + group, rng.integers(0, 2, n)]).astype(np.float32)
    y = np.column_stack([group, group == 1, group + 0.3 * rng.normal(size=n)]).astype(np.float32)
    return Batch(X, y, Modalities(texts=(Texts("body", texts(group, seed)),)))


TRAIN, VALID, TEST = rows(), rows(60, 1), rows(90, 2)


def some(batch: Batch, at: np.ndarray) -> Batch:
    return Batch(batch.X[at], batch.y[at], batch.modalities.some(at))


def strings(batch: Batch) -> list[str]:
    return [text or "" for text in batch.modalities.texts[0].text]


def fit(model: Any, train: Batch = TRAIN, tasks: list[Task] = TASKS, seed: int = 0) -> Any:
    columns = COLUMNS[: train.X.shape[1]]
    valid = Batch(VALID.X[:, : len(columns)], VALID.y[:, : len(tasks)], VALID.modalities)
    return model.fit(tasks, columns, train, valid, seed=seed, threads=1)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return {name: fit(model) for name, model in MODELS.items()}


# --- against scikit-learn ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"ngrams": 3, "size": 500}, {"ngram_range": (1, 3), "max_features": 500}),
        ({"min_df": 3, "sublinear": False, "stop_words": "english"},
         {"min_df": 3, "sublinear_tf": False, "stop_words": "english"}),
    ],
)  # fmt: skip
def test_it_says_what_scikit_learn_says(settings: dict[str, Any], theirs: dict[str, Any]) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectorizer = TfidfVectorizer(**{"sublinear_tf": True} | theirs)
    logistic = LogisticRegression(C=10, max_iter=1_000, random_state=0)
    reference = make_pipeline(vectorizer, logistic).fit(strings(TRAIN), TRAIN.y[:, 0].astype(int))
    ours = fit(TfidfLinear(text=Tfidf(**settings), C=10)).predict(TEST.X, TEST.modalities)[0]
    np.testing.assert_allclose(ours, reference.predict_proba(strings(TEST)), atol=1e-12)


def test_the_class_that_an_svm_decides_is_linear_svc_s_and_its_probabilities_are_about_right() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    svm = LinearSVC(random_state=0)
    reference = make_pipeline(TfidfVectorizer(sublinear_tf=True), svm).fit(
        strings(TRAIN), TRAIN.y[:, 0].astype(int)
    )
    [ours, yes, _] = fit(TfidfLinear(classifier="svm")).predict(TEST.X, TEST.modalities)
    margins = reference.decision_function(strings(TEST))
    assert np.array_equal(ours.argmax(axis=1), margins.argmax(axis=1))
    ratio = (np.log(ours[:, 0]) - np.log(ours[:, 1])) / (margins[:, 0] - margins[:, 1])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)  # one temperature for all
    assert ratio[0] > 1.5  # margins as they are would be too timid
    softmax = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    assert log_loss(TEST.y[:, 0], ours) < log_loss(TEST.y[:, 0], softmax)
    assert abs(yes.mean() - TEST.y[:, 1].mean()) < 0.08


def test_columns_beside_texts_help_where_texts_are_missing(fitted: dict[str, Any]) -> None:
    silent = Modalities(texts=(Texts("body", np.full(len(TEST.X), None, object)),))
    alone, both = (fitted[name].predict(TEST.X, silent)[2] for name in ("logistic", "svm"))
    assert alone.std() == 0  # every row is the intercept
    assert np.corrcoef(both, TEST.y[:, 2])[0, 1] > 0.4


# --- rows, words, seeds -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_is_kept_and_says_the_same_of_a_row_alone(
    name: str, fitted: dict[str, Any], tmp_path: Path
) -> None:
    said = fitted[name].predict(TEST.X, TEST.modalities)
    assert (said[0].argmax(axis=1) == TEST.y[:, 0]).mean() > 0.8
    assert np.corrcoef(said[2], TEST.y[:, 2])[0, 1] > 0.7
    store.save(tmp_path / "model", MODELS[name], fitted[name])
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".joblib", ".pt", ".skops")]
    again = store.load(tmp_path / "model")
    assert again.notes == fitted[name].notes
    few = some(TEST, np.array([40, 3]))  # the first without a text
    for one, other, alone in zip(said, again.predict(TEST.X, TEST.modalities), again.predict(few.X, few.modalities), strict=True):  # fmt: skip
        assert np.array_equal(one, other)
        assert np.array_equal(one[[40, 3]], alone)
    assert again.predict(TEST.X[:0], TEST.modalities.some(np.arange(0)))[0].shape == (0, 3)
    assert any("6 of 240 training rows have no text" in note for note in again.notes[0])


@pytest.mark.parametrize("name", MODELS)
def test_contributions_of_columns_and_texts_add_up(name: str, fitted: dict[str, Any]) -> None:
    assert isinstance(fitted[name], Explains)
    parts = fitted[name].contributions(TEST.X, TEST.modalities)
    which, yes, much = (bias + values.sum(axis=1) for values, bias in parts)
    said = fitted[name].predict(TEST.X, TEST.modalities)
    np.testing.assert_allclose(1 / (1 + np.exp(-yes)), said[1], atol=1e-5)
    np.testing.assert_allclose(much, said[2], atol=1e-5)
    assert np.array_equal(which.argmax(axis=1), said[0].argmax(axis=1))
    assert parts[0].values.shape == (90, 2, 3)


def test_models_of_texts_alone_need_no_columns_and_models_of_columns_do_not_look_at_texts() -> None:
    none = Batch(TRAIN.X[:, :0], TRAIN.y, TRAIN.modalities)
    for model in (TfidfLinear(), LightGBM(num_iterations=5, inputs=Inputs(text=SMALL))):
        assert fit(model, none).predict(TEST.X[:, :0], TEST.modalities)[0].shape == (90, 3)
    plain = LightGBM(num_iterations=5, early_stopping_rounds=None)
    bare = Batch(TRAIN.X, TRAIN.y)
    with_texts, without = (fit(plain, batch).predict(TEST.X)[1] for batch in (TRAIN, bare))
    assert np.array_equal(with_texts, without)
    with pytest.raises(DataError, match="gets no columns"):
        fit(plain, none)


def test_a_model_of_texts_without_a_text_is_an_error_with_the_fix() -> None:
    for model in (TfidfLinear(), MODELS["lightgbm"]):
        with pytest.raises(DataError, match="the recipe has none") as refused:
            fit(model, Batch(TRAIN.X, TRAIN.y))
        assert "raw_text" in str(refused.value)
    blank = Modalities(texts=(Texts("body", np.full(len(TRAIN.X), None, object)),))
    with pytest.raises(DataError, match="no training row of `body` has a word"):
        fit(TfidfLinear(), Batch(TRAIN.X, TRAIN.y, blank))
    with pytest.raises(DataError, match="reads the text `body`, which these rows do not have"):
        fit(TfidfLinear()).predict(TEST.X)


def test_rows_without_a_label_and_classes_without_rows_are_left_out() -> None:
    y = TRAIN.y.copy()
    y[::3, 1] = np.nan
    y[y[:, 0] == 2, 0] = np.nan
    found = fit(TfidfLinear(classifier="svm"), Batch(TRAIN.X, y, TRAIN.modalities))
    which, yes, _ = found.predict(TEST.X, TEST.modalities)
    assert (which[:, 2] == 0).all()
    np.testing.assert_allclose(which.sum(axis=1), 1)
    labelled = some(Batch(TRAIN.X, y, TRAIN.modalities), np.flatnonzero(~np.isnan(y[:, 1])))
    again = fit(
        TfidfLinear(classifier="svm"), Batch(labelled.X, labelled.y[:, 1:2], labelled.modalities), [YES]
    )
    assert np.array_equal(again.predict(TEST.X, TEST.modalities)[0], yes)
    values = found.contributions(TEST.X, TEST.modalities)[0]
    assert np.isneginf(values.bias[:, 2]).all()


def test_the_same_seed_gives_the_same_and_targets_fitted_apart_are_the_same_together() -> None:
    model = MODELS["lightgbm"]
    one, two, other = fit(model), fit(model), fit(model, seed=1)
    directions = [each.parts[0].texts.components for each in (one, two, other)]
    assert np.array_equal(directions[0], directions[1])
    assert not np.array_equal(directions[0], directions[2])
    alone = [
        fit(model, Batch(TRAIN.X, TRAIN.y[:, [i]], TRAIN.modalities), [task]) for i, task in enumerate(TASKS)
    ]
    joined = model.join(alone)
    for a, b in zip(
        joined.predict(TEST.X, TEST.modalities), one.predict(TEST.X, TEST.modalities), strict=True
    ):
        assert np.array_equal(a, b)


def test_few_rows_of_a_class_leave_margins_as_they_are_and_copies_of_a_text_are_in_one_fold() -> None:
    from toolkit.models.tfidf_linear import LEARNT, _folds

    few = some(TRAIN, np.r_[np.flatnonzero(TRAIN.y[:, 1] == 0)[:20], np.flatnonzero(TRAIN.y[:, 1] == 1)[:1]])
    found = fit(TfidfLinear(classifier="svm"), Batch(few.X, few.y[:, 1:2], few.modalities), [YES])
    assert any("too few rows" in note for note in found.notes[0])
    rare = np.r_[0, 1, 2, np.tile([3, 4], 30)]  # three classes of one row among two of thirty
    fold = _folds(rare, [Texts("body", texts(np.zeros(63, int), 4))], 5, 0)
    assert fold is not None
    assert (fold[:3] == LEARNT).all()
    assert np.bincount(fold[3:]).tolist() == [12] * 5
    twice = Texts("body", np.repeat(texts(np.zeros(60, int), 3), 2))
    fold = _folds(np.tile([0, 1], 60), [twice], 5, 0)
    assert fold is not None
    known = np.array([text is not None for text in twice.text])
    assert (fold[::2] == fold[1::2])[known[::2]].all()


def test_a_class_of_one_row_does_not_take_the_others_their_probabilities() -> None:
    kinds = ("a", "b", "c", "d")
    odd = Batch(TRAIN.X, np.where(np.arange(len(TRAIN.y)) == 0, 3, TRAIN.y[:, 0])[:, None], TRAIN.modalities)
    task = Task("kind", "multiclass", kinds)
    svm = TfidfLinear(classifier="svm")
    columns = COLUMNS[: TRAIN.X.shape[1]]
    found = svm.fit([task], columns, odd, Batch(VALID.X, VALID.y[:, :1], VALID.modalities), seed=0, threads=1)
    assert f"fitted on margins of {len(TRAIN.y) - 1:,} training rows" in " ".join(found.notes[0])
    usual = fit(svm).predict(TEST.X, TEST.modalities)[0].max(axis=1).mean()
    assert found.predict(TEST.X, TEST.modalities)[0].max(axis=1).mean() == pytest.approx(usual, abs=0.05)


# --- what is kept -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["another word", "a word twice", "other weights", "another kind"])
def test_what_was_not_written_so_is_refused(damage: str, fitted: dict[str, Any], tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    store.save(tmp_path / "model", MODELS["logistic"], fitted["logistic"])
    path = tmp_path / "model" / "0" / "words.json"
    facts = json.loads(path.read_text())
    if damage == "another word":
        facts[0]["terms"].append("more")
    elif damage == "a word twice":
        facts[0]["terms"][1] = facts[0]["terms"][0]
    elif damage == "another kind":
        facts[0]["kind"] = "characters"
    else:
        save_file({"idf 0": np.full(len(facts[0]["terms"]), np.nan)}, path.with_name("words.safetensors"))
    path.write_text(json.dumps(facts))
    with pytest.raises(BundleError, match=r"words\.json"):
        store.load(tmp_path / "model")


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="`shortest` \\(5\\) is above"):
        Characters(shortest=5, longest=4)
    with pytest.raises(ValidationError, match="asks for nothing"):
        Inputs()


# --- words that tell ---------------------------------------------------------------------------------


def test_it_names_the_words_of_a_class_and_of_a_row(fitted: dict[str, Any]) -> None:
    told = telling_words(fitted["logistic"], 0)
    for part, group in zip(told.split("; "), "abc", strict=True):
        name, words = part.split(": ")
        assert name == group
        assert all(word.startswith(group) for word in words.split(", "))
    decision = fitted["logistic"].predict(TEST.X, TEST.modalities)[0].argmax(axis=1)
    said = sayings(fitted["logistic"], 0, TEST.modalities, decision)
    assert said is not None
    for row in (1, 2, 3):
        [one] = said[row]
        assert one.text == "body"
        assert one.added > 0
        assert all(word in strings(TEST)[row] for word in one.words)
    assert said[0][0].words == ()  # without a text
    assert sayings(fitted["lightgbm"], 0, TEST.modalities, decision) is None
    assert telling_words(fitted["lightgbm"], 0) == ""


# --- in recipes -------------------------------------------------------------------------------------


def flat(folder: Path, n: int = 900, **parts: Any) -> Any:
    """A table of id, body, x and y (yes or no), all columns of which are features but the text."""
    rng = np.random.default_rng(5)
    group = rng.integers(0, 2, n)
    frame = pd.DataFrame(
        {"id": [f"{k:04d}" for k in range(n)], "body": texts(group, 6), "x": rng.normal(size=n).round(3)}
    )
    frame["y"] = np.where(rng.random(n) < np.where(group == 1, 0.9, 0.1), "yes", "no")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "data" / "rows.csv", index=False)
    return config(folder, **{
        "dataset": {"entity": "rows", "tables": {"rows": {"read": "rows.csv", "key": "id", "known": "always", "infer": True}}},
        "cohort": {"cutoffs": None}, "target": {"y": {"kind": "column", "column": "y", "positive": "yes"}},
        "features": {"all": {"kind": "attributes", "table": "rows"}, "body": {"kind": "raw_text", "table": "rows", "column": "body"}},
        "split": {"kind": "random"},
    } | parts)  # fmt: skip


LINE_UP = {
    "svm": {"kind": "tfidf_linear", "classifier": "svm"},
    "trees": {"kind": "lightgbm", "num_iterations": 10, "inputs": {"text": {"reduce": 8}}},
}  # fmt: skip


def test_all_columns_leaves_out_what_is_read_as_a_text(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, model=LINE_UP))
    outcome = made.run()
    assert [column.name for column in outcome.encoder.columns] == ["all.x"]
    assert outcome.chosen("y").model in ("svm", "trees")
    found = explain(made.config, made.prepared, outcome)["y"]
    assert found.drivers[0].feature == "body"
    assert found.drivers[0].clear
    assert found.drivers[0].importance > 0.1


def test_no_word_of_held_out_rows_is_learnt(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, model=LINE_UP))
    proofs = list(held_out(made.config, made.prepared, quiet))
    assert all(proof.holds for proof in proofs), [proof.text for proof in proofs if not proof.holds]
    assert any(
        "inputs of svm on y" in proof.text and "inputs of trees on y" in proof.text for proof in proofs
    )


def test_the_proof_would_see_words_of_held_out_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vectoriser that peeks: it is fitted on the texts of the whole matrix."""
    made = experiment(flat(tmp_path, model={"svm": LINE_UP["svm"]}))
    honest, batch = TextVectors.fit, experiments.batch
    seen: list[Texts] = []

    def remembers(encoder: Any, matrix: Any, *others: Any) -> Batch:
        seen[:] = matrix.texts
        return batch(encoder, matrix, *others)

    def peeks(settings: Tfidf, some: Any) -> Any:
        vectors, _ = honest(settings, seen)
        return vectors, vectors.matrix(Modalities(texts=tuple(some)))

    monkeypatch.setattr(experiments, "batch", remembers)
    monkeypatch.setattr(TextVectors, "fit", peeks)
    proofs = held_out(made.config, made.prepared, quiet)
    assert [proof.text for proof in proofs if not proof.holds]


def by_hand(frame: pd.DataFrame, who: str, cutoff: str) -> str | None:
    """The texts of one before the cutoff, in the order of their days and then of themselves."""
    own = frame[(frame["id"] == who) & (frame["day"] <= cutoff)].dropna(subset="note")
    return "\n".join(own.sort_values(["day", "note"])["note"]) or None


def test_several_texts_of_an_entity_stand_in_order_as_known_at_the_cutoff(tmp_path: Path) -> None:
    persons, events = people(80)
    rng = np.random.default_rng(1)
    notes = (
        events[["id", "day"]].sample(frac=1, random_state=0).assign(note=lambda f: rng.choice(SAMPLE, len(f)))
    )
    notes.loc[notes.index[::7], "note"] = None
    notes = pd.concat([notes, notes.iloc[:5].assign(note="aa first of a day")], ignore_index=True)
    declared = {"entity": "id", "clock": "day", "columns": {"id": "text", "day": "date", "note": "text"},
                "observed_until": "2022-12-31"}  # fmt: skip
    features = {"said": {"kind": "raw_text", "table": "notes", "column": "note"}}
    made = experiment(
        dated(
            tmp_path,
            persons,
            events,
            {"notes": (notes, declared)},
            features=features,
            model={"svm": LINE_UP["svm"]},
        )
    )
    matrix = made.prepared.matrix
    [said] = matrix.texts
    for row in range(len(matrix)):
        day = str(matrix.cutoff[row])[:10]
        before = notes[notes["day"] < day]
        assert said.text[row] == by_hand(before, str(matrix.entity[row]), day)
    assert any(text is None for text in said.text)
    assert any("\n" in text for text in said.text if text)
    proofs = all_proofs(made.config, quiet)
    assert all(proof.holds for proof in proofs), [proof.text for proof in proofs if not proof.holds]


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        ({"leak": {"kind": "raw_text", "table": "rows", "column": "y"}}, LeakError, "y"),
        ({"no": {"kind": "raw_text", "table": "rows", "column": "x"}}, ConfigError, "`x` is no text but number"),
        ({"typo": {"kind": "raw_text", "table": "rows", "column": "bdy"}}, ConfigError, "body"),
    ],
)  # fmt: skip
def test_what_is_no_text_or_the_target_s_own_is_refused(
    features: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as refused:
        experiment(flat(tmp_path, features=features))
    assert words in str(refused.value)


# --- from end to end --------------------------------------------------------------------------------

LETTERS = {
    "conf/features/said.yaml": "kind: raw_text\ntable: rows\ncolumn: body\n",
    "conf/target/group.yaml": "kind: column\ncolumn: group\ntype: multiclass\n",
    "recipes/letters.yaml": """\
defaults:
  - override /dataset: flat
  - override /source: here
  - override /cohort: once
  - override /target: [label, group]
  - override /features: [columns, said]
  - override /split: random
  - override /model: [tfidf_svm]
evaluation: {bootstrap: 0}
engine: {threads: 1}
""",
}


def letters(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    group = rng.integers(0, 3, n)
    label = np.where(rng.random(n) < np.where(group == 1, 0.9, 0.1), "yes", "no")
    return pd.DataFrame({"id": [f"{k:04d}" for k in range(n)], "body": texts(group, 9), "pages": rng.integers(1, 9, n),
                         "label": label, "group": np.array(list("abc"))[group]})  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    write_files(folder, SHOP | LETTERS | {"data/rows.csv": letters().to_csv(index=False)})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["recipe=letters", f"hydra.run.dir={folder / 'run'}"]) == 0
    return folder / "run"


def test_a_run_reports_its_words(run: Path) -> None:
    said = json.loads((run / "metrics.json").read_text())["targets"]
    assert said["group"]["models"]["tfidf_svm"]["test"]["accuracy"] > 0.9
    drivers = pd.read_csv(run / "drivers" / "group.csv").set_index("feature")
    assert drivers.index[0] == "said"
    assert "a: a" in drivers.loc["said", "description"]
    page = (run / "report.html").read_text()
    assert "all words of a row" in page
    assert "says b" in page


def test_a_bundle_scores_tables_and_single_rows_alike(run: Path) -> None:
    source, root = source_of(
        run / "config.yaml", {"input": str(run.parent / "data"), "cache": str(run.parent / "cache")}
    )
    scorer = bundling.read(run / "bundle")
    scored = batch.score(scorer, source, None, Cache(Path(root)), scorer.engine)
    kept = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").set_index("entity")
    place = {entity: k for k, entity in enumerate(scored.matrix.entity)}
    again = scored.probability["label"][[place[entity] for entity in kept.index]]
    np.testing.assert_allclose(again, kept["label.probability"], atol=1e-12)
    assert len(scored.matrix) == 400  # those without a text too
    one = Rows.read(run / "bundle", reasons=3)
    assert one.names == ("columns.pages", "said")
    for row in letters().head(45).to_dict("records"):
        at = place[row["id"]]
        for given in (
            {"id": row["id"], "body": row["body"], "pages": row["pages"]},
            {"said": row["body"], "columns.pages": row["pages"]},
        ):
            answer = one.score(given)["targets"]
            assert answer["label"]["probability"] == pytest.approx(scored.probability["label"][at], abs=1e-12)
            assert list(answer["group"]["probability"].values()) == pytest.approx(
                list(scored.probability["group"][at]), abs=1e-12
            )
    sure = one.score({"said": "by1 by2 bz3"})
    assert sure["absent"] == ["columns.pages"]
    assert sure["targets"]["group"]["decision"] == "b"
    assert sure["targets"]["group"]["reasons"] == ["said says 'bz3', 'by2', 'by1'"] or set(
        sure["targets"]["group"]["reasons"][0].split("says ")[1].split(", ")
    ) == {"'by1'", "'by2'", "'bz3'"}
    with pytest.raises(DataError, match="`said` is 7, which is no text"):
        one.score({"said": 7})
    with pytest.raises(DataError, match="`sad` is no feature of this bundle"):
        one.score({"sad": "by1", "columns.pages": 2})


def test_one_text_is_classified_in_a_few_milliseconds(run: Path) -> None:
    one = Rows.read(run / "bundle")
    row = {"said": " ".join(SAMPLE * 3), "columns.pages": 2}
    times = []
    for _ in range(20):
        begun = time.thread_time()
        one.score(row | {"said": row["said"] + str(time.perf_counter_ns())})
        times.append(time.thread_time() - begun)
    assert np.median(times) < 0.05


def test_the_text_can_be_called_as_its_column(work: Work) -> None:
    recipe = LETTERS["recipes/letters.yaml"].replace("said", "body").replace("label, group", "label")
    frame = letters(200).drop(columns="group")
    work.write({
        "conf/features/body.yaml": LETTERS["conf/features/said.yaml"], "recipes/letters.yaml": recipe,
        "data/rows.csv": frame.to_csv(index=False),
    })  # fmt: skip
    said = work.run("recipe=letters", "model=[tfidf_linear]", "report.html=false", "report.explain=false")
    assert said.code == 0, said.err
    one = Rows.read(work.runs()[0] / "bundle")
    by_column = one.score({"id": "7", "body": "by1 by2", "pages": 3, "label": "no"})
    by_feature = one.score({"body": "by1 by2", "columns.pages": 3})
    assert by_column["targets"] == by_feature["targets"]
    assert one.score({"body": "by1 by2"})["absent"]


def test_a_recipe_without_texts_says_what_to_add(work: Work) -> None:
    work.write({"data/rows.csv": letters(200).drop(columns="group").to_csv(index=False)})
    message = work.refused("recipe=flat", "model=[tfidf_svm]")
    assert "raw_text" in message


# --- real texts -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_on_newsgroups_it_is_what_scikit_learn_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    table = importlib.import_module("newsgroups").texts(real("newsgroups") / "mini_newsgroups.zip")
    assert len(table) == 2_000
    classes = tuple(sorted(table["group"].unique()))
    y = table["group"].map({name: k for k, name in enumerate(classes)}).to_numpy(np.float32)
    part = np.random.default_rng(0).random(len(table)) < 0.8
    both = [
        Batch(np.empty((n.sum(), 0), np.float32), y[n, None], Modalities(texts=(Texts("t", table["quoted"].to_numpy(object)[n]),)))
        for n in (part, ~part)
    ]  # fmt: skip
    model = TfidfLinear(classifier="svm", folds=2)
    fitted = model.fit([Task("group", "multiclass", classes)], [], both[0], both[0], seed=0, threads=1)
    ours = (fitted.predict(both[1].X, both[1].modalities)[0].argmax(axis=1) == y[~part]).mean()
    plain = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC(random_state=0)).fit(
        table["quoted"][part], y[part]
    )
    assert ours == pytest.approx((plain.predict(table["quoted"][~part]) == y[~part]).mean(), abs=0.0026)
    assert ours > 0.7
