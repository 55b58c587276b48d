"""scikit-learn estimators in skops files, with one fixed list of the types that may be inside.

skops itself trusts every scikit-learn estimator, and NumPy and SciPy functions. Here a file may name
only what the toolkit's own models are made of (`ALLOWED`): any other name is refused before
anything is built. The trees' node arrays are then checked too, because scikit-learn follows their child
and feature indices without bounds: a crafted array could crash the process.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BundleError

_HIST = "sklearn.ensemble._hist_gradient_boosting"

ALLOWED: frozenset[str] = frozenset(
    [
        # Plain values. `check_array` wrapped in `partial` is how HistGradientBoosting passes numbers through.
        *(f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool", "slice")),
        *(f"numpy.{name}" for name in ("ndarray", "int64", "uint64", "float64", "float32", "bool", "dtype")),
        "functools.partial",
        "sklearn.utils.validation.check_array",
        # Random forests.
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._tree.Tree",
        # Histogram gradient boosting.
        f"{_HIST}.gradient_boosting.HistGradientBoostingClassifier",
        f"{_HIST}.gradient_boosting.HistGradientBoostingRegressor",
        f"{_HIST}.binning._BinMapper",
        f"{_HIST}.predictor.TreePredictor",
        "numpy.random._generator.Generator",
        *(
            f"sklearn._loss.link.{name}"
            for name in ("IdentityLink", "Interval", "LogitLink", "MultinomialLogit")
        ),
        *(f"sklearn._loss.loss.{name}Loss" for name in ("HalfBinomial", "HalfMultinomial")),
        "sklearn._loss.loss.HalfSquaredError",
        *(
            f"sklearn._loss._loss.CyHalf{name}"
            for name in ("BinomialLoss", "MultinomialLoss", "SquaredError")
        ),
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelEncoder",
    ]
)

_LOADERS = frozenset(
    f"{name}Node"
    for name in (
        *("Cached", "Dict", "DType", "Function", "Json", "List", "Loss", "NdArray", "Object", "Partial"),
        *("RandomGenerator", "Slice", "Tree", "Tuple", "Type"),
    )
)
_OLDEST_PROTOCOL = 2  # older ones are read by skops code that later versions mended


def _skops() -> Any:
    """`skops.io`, without PyTorch: its import walks through all of scikit-learn, whose adapters load it."""
    import importlib
    import sys

    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("skops.io")
    finally:
        if hidden:
            del sys.modules["torch"]


def dump(estimator: Any, path: Path) -> None:
    """Write a fitted estimator; an error of ours (not the user's) if it holds a type not in `ALLOWED`."""
    data = _skops().dumps(estimator)
    _check_types(data, Path(path))
    Path(path).write_bytes(data)


def load(path: Path) -> Any:
    """Read an estimator written by `dump`.

    Raises BundleError naming the file if it holds another type, is damaged, or was fitted with another
    minor version of scikit-learn (whose trees may be laid out in another way).
    """
    skops_io = _skops()
    from sklearn.exceptions import InconsistentVersionWarning

    path = Path(path)
    data = path.read_bytes()  # the bytes that are checked are the bytes that are loaded
    _check_types(data, path)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InconsistentVersionWarning)
            estimator = skops_io.loads(data, trusted=sorted(ALLOWED))
        _check_trees(estimator)
    except Exception as error:
        raise BundleError(f"`{path.name}` cannot be loaded", where=str(path), why=str(error)) from error
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            _check_version(warning.message, path)
    return estimator


def _check_types(data: bytes, path: Path) -> None:
    """Refuse a skops file whose description names anything outside `ALLOWED`."""
    try:
        names, loaders = _names(_description(data))
    except Exception as error:  # one changed byte makes zipfile raise any of eight types (see the tests)
        raise BundleError(
            f"`{path.name}` is not a skops file of this toolkit", where=str(path), why=str(error)
        ) from error
    if foreign := sorted((names - ALLOWED) | (loaders - _LOADERS)):
        raise BundleError(
            f"`{path.name}` holds the type `{foreign[0]}`, which is not allowed in a bundle",
            where=str(path),
            why="only the types that the toolkit's own models are made of are ever loaded",
            fix="do not use this bundle",
        )


def _description(data: bytes) -> Any:
    """What a skops file says it holds; an error of any kind if it is not one as `dump` writes them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # Asked before a byte is unpacked: a small file that unpacks to a huge one is not ours.
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("its parts are compressed")
        schema = json.loads(archive.read("schema.json"))
    protocol = schema["protocol"]
    if type(protocol) is not int or protocol < _OLDEST_PROTOCOL:
        raise ValueError(f"its protocol is {protocol!r}")
    return schema


def _names(schema: Any) -> tuple[set[str], set[str]]:
    """All type and function names, and all kinds of node, in a skops description."""
    names: set[str] = set()
    loaders: set[str] = set()
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__module__" in node:
                names.add(f"{node['__module__']}.{node['__class__']}")
            if "__loader__" in node:
                loaders.add(str(node["__loader__"]))
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
    return names, loaders


def _check_trees(estimator: Any) -> None:
    """Every child lies after its parent and inside the tree, every feature inside the input."""
    for tree in (member.tree_ for member in getattr(estimator, "estimators_", ())):
        inner = tree.children_left != -1
        _check_tree(tree.children_left, tree.children_right, tree.feature, inner, estimator.n_features_in_)
    for predictor in (one for stage in getattr(estimator, "_predictors", ()) for one in stage):
        nodes, categorical = predictor.nodes, estimator._bin_mapper.is_categorical_
        inner = nodes["is_leaf"] == 0
        _check_tree(nodes["left"], nodes["right"], nodes["feature_idx"], inner, len(categorical))
        by_level = nodes[inner & (nodes["is_categorical"] != 0)]
        if (by_level["bitset_idx"] >= len(predictor.raw_left_cat_bitsets)).any():
            raise ValueError("a tree splits on levels that it does not hold")
        if not categorical[by_level["feature_idx"]].all():
            raise ValueError("a tree splits a numeric column by levels")


def _check_tree(
    left: np.ndarray, right: np.ndarray, feature: np.ndarray, inner: np.ndarray, width: int
) -> None:
    own = np.arange(len(left))[inner]
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if ((child <= own) | (child >= len(left))).any():
            raise ValueError("a tree's node points outside the tree")
    if len(left) == 0 or ((feature[inner] < 0) | (feature[inner] >= width)).any():
        raise ValueError("a tree reads a column that does not exist")


def _check_version(message: Any, path: Path) -> None:
    wrote, runs = message.original_sklearn_version, message.current_sklearn_version
    if wrote.split(".")[:2] != runs.split(".")[:2]:
        raise BundleError(
            f"`{path.name}` was fitted with scikit-learn {wrote}; installed is {runs}",
            where=str(path),
            fix=f"pip install scikit-learn=={wrote}, or fit the model again",
        )
