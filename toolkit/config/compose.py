"""The Hydra plug-in: where declarations are found, where they land, and what a verb receives.

A file of a multi-choice group lands under its own name (`conf/target/a.yaml` at `target.a`) and a
recipe at the root, without a `# @package` header in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from toolkit.config.declaration import HYDRA_WHY, TARGET_FIX, read
from toolkit.config.paths import Root, packaged, readable, roots
from toolkit.config.provenance import Provenance, comment_at
from toolkit.errors import ConfigError, UserError

MULTI_CHOICE = ("target", "features", "model")


@dataclass(frozen=True)
class Composed:
    """A composed recipe, as a verb receives it.

    plain:      the configuration with every interpolation resolved; not yet checked (config/check.py).
    provenance: where each key came from.
    folder:     Hydra's output folder of this job; empty, and removed again if it stays empty. For verbs
                other than `run` it is a temporary one.
    overrides:  the command line's overrides of this job.
    job:        number of the job in a multirun, "" outside of one.
    recipe:     the chosen recipe, if any.
    from_environment: dotted keys whose value came from an environment variable; may be secret, so
                they are masked wherever the configuration is shown or kept.
    """

    plain: dict[str, Any]
    provenance: Provenance
    folder: Path
    overrides: list[str]
    job: str
    recipe: str | None
    from_environment: frozenset[str]


def composed(config: DictConfig) -> Composed:
    """What Hydra composed, from inside its task function. Raises ConfigError with file and line."""
    hydra = HydraConfig.get()
    overrides = OmegaConf.to_container(hydra.overrides)  # as typed: `${…}` in them is not resolved
    raw = OmegaConf.to_container(config)
    assert isinstance(overrides, dict)
    provenance = Provenance.of_hydra(
        GlobalHydra.instance().config_loader(),
        hydra.job.config_name or "config",
        [*overrides["hydra"], *overrides["task"]],
        sources=[SourcesRegistry.instance().resolve(s.schema)(s.provider, f"{s.schema}://{s.path}")
                 for s in hydra.runtime.config_sources if s.schema in (Declarations.SCHEME, Recipes.SCHEME)],
        variables=_variables(raw),
    )  # fmt: skip
    _refuse_targets(raw, (), provenance)
    _refuse_missing(raw, provenance)
    plain = _rooted(_resolved(config, provenance))
    return Composed(
        plain=plain,
        provenance=provenance,
        folder=Path(hydra.runtime.output_dir),
        overrides=overrides["task"],
        job=str(hydra.job.num) if hydra.mode == RunMode.MULTIRUN else "",
        recipe=hydra.runtime.choices.get("recipe"),
        from_environment=frozenset(_from_environment(raw, plain)),
    )


def _resolved(config: DictConfig, provenance: Provenance) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key or error.key or "")
        cause = error.__cause__
        what = cause.what if isinstance(cause, UserError) else str(error.msg or error).split("\n")[0]
        fix = None
        if isinstance(error, InterpolationKeyError):
            what += " (an interpolation `${…}` names a key that does not exist)"
            if found := re.search(r"'(vars\.[\w.]+)' not found", what):
                fix = f"write it in the recipe's `vars`, or on the command line: +{found.group(1)}=…"
        raise ConfigError(f"`{key}`: {what}", where=str(provenance.where(key)), fix=fix) from None
    return cast(dict[str, Any], plain)


def _rooted(plain: dict[str, Any]) -> dict[str, Any]:
    """`dataset.root=FOLDER` stands for `source=folder source.path=FOLDER`."""
    dataset, source = plain.get("dataset"), plain.get("source")
    if not isinstance(dataset, dict) or not dataset.get("root"):
        return plain
    options = {}
    if isinstance(source, dict) and source.get("kind") == "folder" and "csv" in source:
        options = {"csv": source["csv"]}
    return plain | {"source": {"kind": "folder", "path": str(dataset["root"]), **options}}


def _refuse_missing(raw: Any, provenance: Provenance) -> None:
    """Values that are left to be given (`???`), all of them at once, each with the comment beside it."""
    missing = {".".join(path): provenance.where(path) for path, value in _leaves(raw) if value == "???"}
    if not missing:
        return
    lines = [f"{len(missing)} values have to be given"] if len(missing) > 1 else []
    for key, origin in missing.items():
        about = comment_at(origin)
        said = f": {about}" if about else ""
        lines.append(f"  {origin}  {key}{said}" if len(missing) > 1 else f"`{key}` has to be given{said}")
    raise ConfigError(
        "\n".join(lines),
        where=str(*missing.values()) if len(missing) == 1 else None,
        fix="write on the command line: " + " ".join(f"{key}=…" for key in missing),
    )


def _variables(raw: Any) -> dict[str, str]:
    """Keys whose whole value is taken from another key: `dataset.tables.rows.read` → `vars.file`."""
    found = ((path, re.fullmatch(r"\$\{(\w[\w.]*)\}", str(value))) for path, value in _leaves(raw))
    return {".".join(path): name.group(1) for path, name in found if name}


def _leaves(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if pairs is None:
        return [(path, node)]
    return [leaf for key, value in pairs for leaf in _leaves(value, (*path, str(key)))]


def _refuse_targets(raw: Any, path: tuple[str, ...], provenance: Provenance) -> None:
    """Files are refused when read; this catches the command line, which Hydra merges later."""
    for key, value in (
        raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    ):
        if key == "_target_":
            where = str(provenance.where((*path, key)))
            raise ConfigError(
                "`_target_` is not allowed", where=where, why="it would run code", fix=TARGET_FIX
            )
        _refuse_targets(value, (*path, str(key)), provenance)


def _from_environment(raw: Any, plain: Any) -> set[str]:
    """Keys that read `oc.env`, and interpolated keys that repeat what one of those read."""
    resolved = dict(_leaves(plain))
    interpolated = {path: text for path, text in _leaves(raw) if isinstance(text, str) and "${" in text}
    direct = {path for path, text in interpolated.items() if "oc.env" in text}
    values = {str(resolved[path]) for path in direct if resolved.get(path) not in (None, "")}
    repeats = {path for path in interpolated if any(value in str(resolved.get(path)) for value in values)}
    return {".".join(path) for path in direct | repeats}


class Declarations(ConfigSource):
    """A conf folder, with every file read by config/declaration.py."""

    SCHEME: ClassVar[str] = "file"
    group: ClassVar[str] = ""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path if "://" in path else f"{self.SCHEME}://{path}")
        if not Path(self.path).is_dir():
            raise ConfigError(
                f"there is no folder `{self.path}`", where=provider, fix="check the search path"
            )

    @classmethod
    def scheme(cls) -> str:
        return cls.SCHEME

    def file(self, config_path: str) -> Path | None:
        """The YAML file behind Hydra's `group/name`, if this folder has it."""
        inside = self._inside(config_path)
        if inside is None:
            return None
        path = inside if inside.suffix == ".yaml" else inside.with_name(inside.name + ".yaml")
        return path if path.is_file() else None

    def _inside(self, config_path: str) -> Path | None:
        """Where `config_path` would lie; None if it leads out of this folder or to another group."""
        group, _, rest = config_path.partition("/") if self.group else (self.group, "", config_path)
        if group != self.group or ".." in Path(rest).parts or Path(rest).is_absolute():
            return None
        return Path(self.path) / rest

    def load_config(self, config_path: str) -> ConfigResult:
        path = self.file(config_path)
        if path is None:
            raise ConfigLoadError(f"Config not found: {config_path}")
        if config_path.startswith("hydra/"):
            raise ConfigError(
                "Hydra's own groups cannot be declared here", where=readable(path), why=HYDRA_WHY
            )
        declaration = read(path)
        try:
            header = self._get_header_dict(declaration.text[:512])
        except ValueError as error:
            raise ConfigError(f"header comment: {error}", where=f"{readable(path)}:1") from None
        header["package"] = header["package"] or landing(config_path)
        if "hydra" in str(header["package"]).split("."):
            raise ConfigError("`@package hydra` is not allowed", where=f"{readable(path)}:1", why=HYDRA_WHY)
        return ConfigResult(
            config=OmegaConf.create(declaration.data),
            path=f"{self.SCHEME}://{self.path}",
            provider=self.provider,
            header=header,
        )

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        inside = self._inside(config_path)
        return config_path == "" or (inside is not None and inside.is_dir())

    def is_config(self, config_path: str) -> bool:
        return self.file(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if self.group and config_path == "":
            return [] if results_filter == ObjectType.CONFIG else [self.group]
        names = []
        for path in (self._inside(config_path) or Path(self.path)).iterdir():
            if path.is_dir() and results_filter != ObjectType.CONFIG and any(path.glob("*.yaml")):
                names.append(path.name)
            if path.suffix == ".yaml" and path.is_file() and results_filter != ObjectType.GROUP:
                names.append(path.stem)
        return sorted(set(names))


class Recipes(Declarations):
    """A recipes folder, which Hydra sees as the group `recipe`."""

    SCHEME: ClassVar[str] = "recipes"
    group: ClassVar[str] = "recipe"


def landing(config_path: str) -> str | None:
    """Package of a file without a `# @package` header, if it is not simply its group."""
    group, _, name = config_path.removesuffix(".yaml").partition("/")
    if group == "recipe":
        return "_global_"
    return f"{group}.{name.replace('/', '_')}" if group in MULTI_CHOICE and name else None


class _SearchPath(SearchPathPlugin):
    """Puts `search` in front of what Hydra knows; set by `install`."""

    search: ClassVar[list[Root]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for root in self.search:
            search_path.append(provider=root.provider, path=root.address)


def install(config_dir: str | None = None) -> list[Root]:
    """Register the plug-in with Hydra and return the search path. Raises ConfigError for a bad folder.

    `config_dir` goes first; Hydra's own flag would put it last.
    """
    _SearchPath.search = roots(config_dir)
    plugins = Plugins.instance()
    plugins.register(_SearchPath)
    plugins.register(Recipes)
    # Hydra has no way to replace its own source of plain folders, which --config-dir and
    # hydra.searchpath use; with it, their files would be read with less care than ours.
    SourcesRegistry.instance().types[Declarations.SCHEME] = Declarations
    resolvers: dict[str, Callable[..., Any]] = {
        "packaged": lambda name: str(packaged(name)),
        "or": lambda *values: next((value for value in values if value not in (None, "")), None),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    return _SearchPath.search
