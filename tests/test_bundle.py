"""A bundle is used only as it was written, runs no code, and scores exactly what the fitted model scored."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import bundle
from toolkit.bundle import estimators
from toolkit.bundle.files import read_arrays, read_json, write_arrays, write_json
from toolkit.errors import BundleError
from toolkit.models import Batch, Column, Explains, Task, store
from toolkit.registry import models

QUICK = {
    "random_forest": {"trees": 7},
    "hist_gbm": {"max_iterations": 12},
    "lightgbm": {"num_iterations": 12},
    "xgboost": {"num_boost_round": 12},
}
OWN = ["prior", "rule", "logistic", "random_forest", "hist_gbm", "lightgbm", "xgboost"]
TASKS = [Task("will", "binary"), Task("which", "multiclass", ("a", "b", "c")), Task("much", "regression")]
COLUMNS = [*(Column(f"x{i}") for i in range(4)), Column("level", "categorical", ("p", "q", "r"))]


def rows(count: int = 401) -> Batch:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(count, 5)).astype(np.float32)
    X[:, 4] = rng.integers(0, 3, count)
    X[rng.random((count, 5)) < 0.1] = np.nan
    score = np.nan_to_num(X[:, 0]) + (X[:, 4] == 1) + rng.normal(size=count)
    return Batch(X, np.column_stack([score > 0, np.digitize(score, [-1, 1]), score]).astype(np.float32))


ROWS = rows()


def fitted(name: str, tasks: list[Task] = TASKS, **settings: Any) -> tuple[Any, Any]:
    component = models.get(name)
    config = component.config.model_validate(QUICK.get(name, {}) | settings)
    return config, component.build(config).fit(tasks, COLUMNS, ROWS, ROWS, seed=3, threads=1)


def write(folder: Path, name: str, **settings: Any) -> Any:
    config, model = fitted(name, **settings)
    bundle.write(
        folder, {"model": lambda path: store.save(path, config, model), "notes/about.json": {"what": "é"}}
    )
    return model


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forest") / "bundle"
    write(folder, "random_forest")
    return folder


@pytest.fixture
def copy(forest: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(forest, tmp_path / "bundle"))


# --- round trip -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in OWN),
        ("logistic", {"C": [0.1, 1.0], "class_weight": "balanced"}),
        ("random_forest", {"multi_output": True, "tasks": TASKS[:2]}),
        (
            "random_forest",
            {"class_weight": "balanced", "max_features": 0.5, "max_samples": 0.5, "max_depth": None},
        ),
        ("hist_gbm", {"class_weight": "balanced", "max_features": 0.5}),
        ("lightgbm", {"early_stopping_metric": "auc", "bagging_fraction": 0.5, "bagging_freq": 1}),
        ("xgboost", {"early_stopping_metric": "auc", "subsample": 0.5}),
    ],
)
def test_a_loaded_model_scores_exactly_what_was_fitted(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    model = write(tmp_path / "bundle", name, **settings)
    again = store.load(bundle.read(tmp_path / "bundle").path("model"))
    for before, after in zip(model.predict(ROWS.X), again.predict(ROWS.X), strict=True):
        assert np.array_equal(before, after)
    assert list(again.tasks) == list(model.tasks)
    assert list(again.notes) == list(model.notes)
    assert list(again.iterations) == list(model.iterations)
    for share, other in zip(model.importance(), again.importance(), strict=True):
        assert np.array_equal(share, other) if share is not None else other is None
    assert isinstance(again, Explains) == isinstance(model, Explains)
    if isinstance(model, Explains):
        assert isinstance(again, Explains)
        for own, read in zip(model.contributions(ROWS.X), again.contributions(ROWS.X), strict=True):
            assert np.array_equal(own.values, read.values)
            assert np.array_equal(own.bias, read.bias)


@pytest.mark.parametrize("name", OWN)
def test_a_loaded_model_can_be_saved_again(tmp_path: Path, name: str) -> None:
    config, model = fitted(name, tasks=TASKS[:1])
    store.save(tmp_path / "one", config, model)
    store.save(tmp_path / "two", config, store.load(tmp_path / "one"))
    assert np.array_equal(store.load(tmp_path / "two").predict(ROWS.X)[0], model.predict(ROWS.X)[0])


@pytest.mark.parametrize("name", OWN)
def test_a_bundle_holds_only_formats_that_carry_no_code(tmp_path: Path, name: str) -> None:
    write(tmp_path / "bundle", name)
    kinds = {path.suffix for path in (tmp_path / "bundle").rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".skops", ".txt", ".ubj"}


@pytest.mark.parametrize("name", OWN)
def test_no_file_keeps_anything_per_training_row(tmp_path: Path, name: str) -> None:
    settings = {"class_weight": "balanced"} if "class_weight" in models.get(name).config.model_fields else {}
    write(tmp_path / "bundle", name, **settings)
    lengths = set()
    for path in (tmp_path / "bundle").rglob("*"):
        if path.suffix == ".skops":
            with zipfile.ZipFile(path) as archive:
                parts = [archive.read(part) for part in archive.namelist() if part.endswith(".npy")]
            lengths |= {np.load(io.BytesIO(part), allow_pickle=False).shape[:1] for part in parts}
        elif path.suffix == ".safetensors":
            lengths |= {array.shape[:1] for array in read_arrays(path).values()}
    assert (len(ROWS.y),) not in lengths


def test_a_bundle_reads_back_what_it_holds(forest: Path) -> None:
    opened = bundle.read(forest)
    assert opened.json("notes/about.json") == {"what": "é"}
    with pytest.raises(BundleError, match="has no `notes/abou`"):
        opened.path("notes/abou")


# --- damage -----------------------------------------------------------------------------------------


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", OWN)
def test_one_flipped_byte_in_any_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "bundle"
    write(folder, name)
    bundle.verify(folder)
    damaged = [file for file in files(folder) if file != "manifest.json"]
    assert len(damaged) >= 3
    for file in damaged:
        whole = (folder / file).read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            flipped = bytearray(whole)
            flipped[position] ^= 1
            (folder / file).write_bytes(flipped)
            with pytest.raises(BundleError, match=f"`{file}` differs from what was written"):
                bundle.read(folder)
        (folder / file).write_bytes(whole)
    bundle.verify(folder)


def test_no_parser_sees_a_damaged_file(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "model/0.skops").write_bytes(b"x")
    monkeypatch.setattr(zipfile, "ZipFile", lambda *a, **k: pytest.fail("parsed"))
    with pytest.raises(BundleError, match=r"`model/0\.skops` differs"):
        bundle.read(copy)


def test_every_damaged_manifest_is_refused(copy: Path) -> None:
    path = copy / "manifest.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        try:
            manifest = bundle.verify(copy)
        except BundleError:
            continue
        # Only white space, or the version of the toolkit that wrote it, can change without a word.
        path.write_bytes(whole)
        assert manifest.files == bundle.verify(copy).files


def test_a_file_too_few_or_too_many_is_refused_by_name(copy: Path) -> None:
    extra = copy / "model/extra.txt"
    extra.write_text("hello")
    with pytest.raises(
        BundleError, match=r"`model/extra\.txt` is in the bundle's folder but not in its manifest"
    ):
        bundle.read(copy)
    extra.unlink()
    (copy / "notes/about.json").unlink()
    with pytest.raises(BundleError, match=r"`notes/about\.json` is missing"):
        bundle.read(copy)


def test_links_and_special_files_are_refused_by_name(copy: Path, tmp_path: Path) -> None:
    target = copy / "notes/about.json"
    (tmp_path / "same.json").write_bytes(target.read_bytes())
    target.unlink()
    target.symlink_to(tmp_path / "same.json")  # the same bytes, but from outside
    with pytest.raises(BundleError, match=r"`notes/about\.json` is a symbolic link"):
        bundle.read(copy)
    target.unlink()
    os.mkfifo(target)
    with pytest.raises(BundleError, match=r"`notes/about\.json` is not a regular file"):
        bundle.read(copy)


def test_a_linked_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "notes").rename(tmp_path / "outside")
    (copy / "notes").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="`notes` is a symbolic link"):
        bundle.read(copy)


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/hostname", "model/../../x", "a\\..\\b", "", ".", "./a", "a//b", "C:a"]
)
def test_a_path_that_leaves_the_folder_is_refused(copy: Path, name: str) -> None:
    (copy.parent / "secret.json").write_text("{}")
    manifest = read_json(copy / "manifest.json")
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 2}
    write_json(copy / "manifest.json", manifest)
    with pytest.raises(BundleError, match="is not a path inside the bundle"):
        bundle.read(copy)
    with pytest.raises(BundleError, match="is not a path inside the bundle"):
        bundle.write(copy.parent / "new", {name: {}})
    assert not (copy.parent / "new").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "format is None"),
        ('{"format": 2, "toolkit": "9", "files": {}}', "format is 2"),
        ('{"format": 1, "toolkit": "9", "files": []}', "not one that this toolkit writes"),
        ('{"format": 1, "toolkit": "9", "files": {"a": {"sha256": 1, "bytes": 2}}}', "entry for `a`"),
        ('{"format": 1, "format": 1, "toolkit": "9", "files": {}}', "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        (" " * 5_000_000, "not readable JSON"),
        ('{"format": NaN}', "not readable JSON"),
    ],
)
def test_a_foreign_manifest_is_refused(copy: Path, text: str, says: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=says):
        bundle.read(copy)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        bundle.read(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"no `manifest\.json`"):
        bundle.read(tmp_path)


def test_a_bundle_is_whole_or_absent(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        bundle.write(tmp_path / "bundle", {"a.json": {}, "b": fails})
    assert list(tmp_path.iterdir()) == []
    bundle.write(tmp_path / "bundle", {"a.json": {}})
    with pytest.raises(BundleError, match="not empty"):
        bundle.write(tmp_path / "bundle", {"a.json": {"other": 1}})
    assert bundle.read(tmp_path / "bundle").json("a.json") == {}


# --- foreign content behind a manifest that fits ----------------------------------------------------


def repack(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Rewrite a skops file with its description changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    parts["schema.json"] = json.dumps(change(schema) or schema).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    path.write_bytes(stream.getvalue())


def planted(node: dict[str, Any]) -> Any:
    """Put a node where the forest keeps a setting."""

    def change(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["criterion"] = node

    return change


FUNCTION = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}
EMPTY = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (FUNCTION, "os.system"),
        ({"__class__": "Popen", "__module__": "subprocess", "__loader__": "TypeNode"}, "subprocess.Popen"),
        # skops trusts these by itself; the toolkit's own models do not need them.
        (
            {"__class__": "Pipeline", "__module__": "sklearn.pipeline", "__loader__": "TypeNode"},
            "sklearn.pipeline.Pipeline",
        ),
        ({"__class__": "add", "__module__": "numpy", "__loader__": "FunctionNode"}, "numpy.add"),
        (
            {
                "__class__": "partial",
                "__module__": "functools",
                "__loader__": "PartialNode",
                "content": {"func": FUNCTION, "args": EMPTY, "kwds": EMPTY, "namespace": EMPTY},
            },
            "os.system",
        ),
        # An allowed name under a kind of node that the toolkit never writes.
        (
            {"__class__": "str", "__module__": "builtins", "__loader__": "MethodNode", "content": {}},
            "MethodNode",
        ),
    ],
)
def test_a_planted_type_is_refused_by_name(copy: Path, node: dict[str, Any], named: str) -> None:
    path = copy / "model/0.skops"
    repack(path, planted(node))
    bundle.seal(copy)  # the attacker can write a manifest too
    folder = bundle.read(copy).path("model")
    with pytest.raises(BundleError, match=f"`0.skops` holds the type `{named}`, which is not allowed"):
        store.load(folder)


def test_repacking_alone_changes_nothing(copy: Path) -> None:
    """The control of the tests around it: an unchanged description loads."""
    repack(copy / "model/0.skops", lambda schema: None)
    bundle.seal(copy)
    assert store.load(bundle.read(copy).path("model")).predict(ROWS.X)[0].shape == (401,)


def test_old_protocols_and_compressed_files_are_refused(copy: Path) -> None:
    path = copy / "model/0.skops"
    whole = path.read_bytes()
    repack(path, lambda schema: schema | {"protocol": 0})
    with pytest.raises(BundleError, match=r"not a skops file of this toolkit\n(.|\n)*its protocol is 0"):
        estimators.load(path)
    path.write_bytes(whole)
    repack(path, lambda schema: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match=r"not a skops file of this toolkit\n(.|\n)*parts are compressed"):
        estimators.load(path)


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (6, b"\xff", "zip file version"),  # zipfile's NotImplementedError
        (8, b"\x01", "is encrypted"),  # its RuntimeError
        (8, b"\x20", "compressed patched data"),  # NotImplementedError, only once the part is read
        (10, b"\x63", "parts are compressed"),  # a method that zipfile does not know
        (20, b"\xff\xff\xff\x7f" * 2, "not a skops file"),  # sizes beyond the end: EOFError
    ],
)
def test_whatever_zipfile_raises_is_one_clear_error(copy: Path, offset: int, value: bytes, says: str) -> None:
    """`offset` into every entry of the zip's directory (PKWARE's APPNOTE, 4.3.12)."""
    path = copy / "model/0.skops"
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    while entry >= 0:
        data[entry + offset : entry + offset + len(value)] = value
        entry = data.rfind(b"PK\x01\x02", 0, entry)
    path.write_bytes(data)
    with pytest.raises(BundleError, match=says):
        estimators.load(path)


def test_a_linear_model_of_another_version_is_one_clear_error(tmp_path: Path) -> None:
    config, model = fitted("logistic", tasks=TASKS[:1])
    store.save(tmp_path / "model", config, model)
    path = tmp_path / "model/0/linear.safetensors"
    arrays = read_arrays(path)
    for changed in ({"center": None}, {"other": arrays["coef"]}):
        write_arrays(path, {k: v for k, v in (arrays | changed).items() if v is not None})
        with pytest.raises(BundleError, match="not hold the arrays of a linear model of this version"):
            store.load(tmp_path / "model")


@pytest.mark.parametrize("field", ["left_child", "right_child", "feature"])
def test_a_tree_that_points_outside_itself_is_refused(tmp_path: Path, field: str) -> None:
    _, model = fitted("random_forest", tasks=TASKS[:1])
    tree = model.forests[0].estimators_[0].tree_
    state = tree.__getstate__()
    nodes = state["nodes"].copy()
    nodes[field][0] = 10_000_000  # the root
    tree.__setstate__(state | {"nodes": nodes})
    estimators.dump(model.forests[0], tmp_path / "forest.skops")
    with pytest.raises(BundleError, match=r"`forest\.skops` cannot be loaded"):
        estimators.load(tmp_path / "forest.skops")


@pytest.mark.parametrize("field", ["left", "right", "feature_idx"])
def test_a_boosted_tree_that_points_outside_itself_is_refused(tmp_path: Path, field: str) -> None:
    _, model = fitted("hist_gbm", tasks=TASKS[:1])
    estimator = model.parts[0].model
    estimators.dump(estimator, tmp_path / "whole.skops")
    estimators.load(tmp_path / "whole.skops")
    estimator._predictors[0][0].nodes[field][0] = 10_000_000
    estimators.dump(estimator, tmp_path / "model.skops")
    with pytest.raises(BundleError, match=r"`model\.skops` cannot be loaded"):
        estimators.load(tmp_path / "model.skops")


def test_another_minor_version_of_scikit_learn_is_refused(copy: Path) -> None:
    import sklearn

    def older(schema: dict[str, Any]) -> Any:
        return json.loads(json.dumps(schema).replace(sklearn.__version__, "1.2.0"))

    repack(copy / "model/0.skops", older)
    with pytest.raises(BundleError, match=r"fitted with scikit-learn 1\.2\.0; installed is"):
        estimators.load(copy / "model/0.skops")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("random_forest", "0.skops"),
        ("hist_gbm", "0/hist_gbm.skops"),
        ("logistic", "0/linear.safetensors"),
        ("lightgbm", "0/lightgbm.txt"),
        ("xgboost", "0/xgboost.ubj"),
        ("prior", "0/prior.json"),
        ("prior", "tasks.json"),
        ("prior", "model.json"),
    ],
)
def test_rubbish_behind_a_manifest_that_fits_is_one_clear_error(
    tmp_path: Path, name: str, file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config, model = fitted(name, tasks=TASKS[:1])
    store.save(tmp_path / "model", config, model)
    (tmp_path / "model" / file).write_bytes(b"rubbish")
    with pytest.raises(BundleError, match=Path(file).name):
        store.load(tmp_path / "model")


def test_arrays_and_json_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    (tmp_path / "a.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(BundleError, match="not a safetensors file"):
        read_arrays(tmp_path / "a.safetensors")


def test_a_model_that_is_not_installed_is_named(tmp_path: Path) -> None:
    config, model = fitted("prior")
    store.save(tmp_path / "model", config, model)
    write_json(tmp_path / "model/model.json", {"config": {"kind": "os.system"}})
    with pytest.raises(Exception, match=r"`os\.system`"):
        store.load(tmp_path / "model")
    write_json(tmp_path / "model/model.json", {"config": {"kind": "prior", "command": "x"}})
    with pytest.raises(BundleError, match="does not know the bundle's configuration"):
        store.load(tmp_path / "model")
