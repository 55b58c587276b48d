"""A recipe's TF-IDF and linear SVM against a plain script of scikit-learn, on 20 newsgroups: same rows, same test.

    python tests/benchmarks/newsgroups.py [seeds]

2,000 texts (100 of each group), of which the recipe trains on 64 % and judges by 20 %; the script is fitted on the
same training rows. Once with the headers stripped, and once without quotes and footers too, both as
`sklearn.datasets.fetch_20newsgroups` strips them. Prints the test accuracy of both, and of scikit-learn's rivals.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import REAL, machine, metrics, toolkit

FEATURES = "kind: raw_text\ntable: rows\ncolumn: body\n"
TARGET = "kind: column\ncolumn: group\ntype: multiclass\n"
RECIPE = """\
defaults:
  - override /dataset: flat
  - override /source: folder
  - override /cohort: once
  - override /target: [label]
  - override /features: [body]
  - override /split: stratified
  - override /model: [tfidf_svm, tfidf_linear]
name: newsgroups
description: Which of twenty groups was a text written for?
vars: {file: texts.csv, key: id}
"""


def texts(path: Path) -> pd.DataFrame:
    """Columns id, body, quoted (with quotes and footers), group; in the archive's order."""
    from sklearn.datasets import _twenty_newsgroups as strip

    rows = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = name.split("/")
            if len(parts) != 3 or not parts[2].isdigit():  # folders, and what a file manager left
                continue
            quoted = strip.strip_newsgroup_header(archive.read(name).decode("latin-1"))
            body = strip.strip_newsgroup_footer(strip.strip_newsgroup_quoting(quoted))
            rows.append(("/".join(parts[1:]), body, quoted, parts[1]))
    return pd.DataFrame(rows, columns=["id", "body", "quoted", "group"])


def project(folder: Path, table: pd.DataFrame) -> None:
    """A team's folder: one file of texts, and the recipe that reads it."""
    for path, text in (
        ("conf/features/body.yaml", FEATURES), ("conf/target/label.yaml", TARGET), ("recipes/newsgroups.yaml", RECIPE),
    ):  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    table.to_csv(folder / "texts.csv", index=False)


def script(table: pd.DataFrame, part: pd.Series, **settings: object) -> float:
    """What one writes in five lines: fitted on training rows, accuracy on test rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    train, test = (table.loc[part.index[part == name]] for name in ("train", "test"))
    model = make_pipeline(TfidfVectorizer(**settings), LinearSVC(random_state=0))
    model.fit(train["body"], train["group"])
    return float((model.predict(test["body"]) == test["group"]).mean())


def main(seeds: int) -> None:
    whole = texts(REAL / "newsgroups" / "mini_newsgroups.zip")
    print(
        f"{machine()}; {len(whole):,} texts of {whole['group'].nunique()} groups; test accuracy, {seeds} splits"
    )
    for what, column in (("headers stripped", "quoted"), ("quotes and footers too", "body")):
        table = whole.assign(body=whole[column])[["id", "body", "group"]]
        found: dict[str, list[float]] = {}
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                project(folder, table)
                run = folder / "run"
                toolkit(
                    "recipe=newsgroups", f"source.path={folder}", f"seed={seed}", f"hydra.run.dir={run}", "quiet=true",
                    "report.html=false", "report.explain=false", "evaluation.bootstrap=0", "engine.threads=1", folder=folder,
                )  # fmt: skip
                models = metrics(run)["targets"]["label"]["models"]
                predictions = pd.read_parquet(run / "predictions.parquet", columns=["entity", "part"])
            part = predictions.set_index("entity")["part"]
            part = part.reindex(table["id"]).fillna("train")  # predictions are of validation and test rows
            rows = table.set_index("id", drop=False)
            said = {
                "recipe, tfidf_svm": models["tfidf_svm"]["test"]["accuracy"],
                "recipe, tfidf_linear": models["tfidf_linear"]["test"]["accuracy"],
                "script, same settings": script(rows, part, sublinear_tf=True),
                "script, scikit-learn's defaults": script(rows, part),
                "script, 5,000 runs of 1-3 words": script(
                    rows, part, sublinear_tf=True, ngram_range=(1, 3), max_features=5_000
                ),
            }
            for model, accuracy in said.items():
                found.setdefault(model, []).append(accuracy)
        for model, each in found.items():
            print(f"{what:24} {model:32} {np.mean(each):.4f}  {', '.join(f'{one:.4f}' for one in each)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
