"""Where declarations lie: `--config-dir`, then the working folder, then the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


def packaged(name: str = "") -> Path:
    """Absolute path of a declaration that ships with the toolkit, e.g. `packaged("recipes/data")`.

    A wheel carries them inside the package; an editable checkout has them beside it. The path need
    not exist. Raises ConfigError for a name that leads elsewhere.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ConfigError(
            f"`{name}` does not lie among the packaged declarations", fix="name it without `..`"
        )
    share = PACKAGE / "_share"
    return (share if share.is_dir() else PACKAGE.parent) / name


@dataclass(frozen=True)
class Root:
    """A folder on the search path. `group` is "" for a conf folder, "recipe" for a recipes folder."""

    provider: str
    group: str
    folder: Path

    @property
    def address(self) -> str:
        """As Hydra's search path writes it; the scheme picks the source class in compose.py."""
        return f"{'recipes' if self.group else 'file'}://{self.folder}"


def roots(config_dir: str | None = None) -> list[Root]:
    """The search path, first wins. A `config_dir` is a conf folder, or holds `conf/` and `recipes/`.

    Raises ConfigError if `config_dir` is not a folder.
    """
    found: list[Root] = []
    if config_dir is not None:
        given = Path(config_dir).resolve()
        if not given.is_dir():
            raise ConfigError(
                f"there is no folder `{config_dir}`", where="--config-dir", fix="check the path"
            )
        inside = _pair("--config-dir", given)
        found += inside or [Root("--config-dir", "", given)]
    found += _pair("working folder", Path.cwd()) + _pair("toolkit", packaged())
    return [root for i, root in enumerate(found) if root.folder not in {r.folder for r in found[:i]}]


def _pair(provider: str, base: Path) -> list[Root]:
    pairs = [("", base / "conf"), ("recipe", base / "recipes")]
    return [Root(provider, group, folder.resolve()) for group, folder in pairs if folder.is_dir()]


def options(search: list[Root]) -> dict[str, dict[str, Path]]:
    """Group → option → the file that wins, over the whole search path; `recipe` is a group too."""
    groups: dict[str, dict[str, Path]] = {}
    for root in search:
        for folder in [root.folder] if root.group else sorted(p for p in root.folder.iterdir() if p.is_dir()):
            for file in sorted(folder.glob("*.yaml")):
                groups.setdefault(root.group or folder.name, {}).setdefault(file.stem, file)
    return {group: dict(sorted(files.items())) for group, files in sorted(groups.items())}


def readable(path: Path) -> str:
    """A path as a user would write it: relative to the working folder where it lies inside."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
