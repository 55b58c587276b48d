"""One typed table per kind of component: name → (config class, factory).

YAML names a component by its `kind`; the name is looked up here and nowhere else, so YAML can
reach only what is registered. Third-party components come in through Python entry points in the
group `toolkit.<table>` (for example `toolkit.models`), each of which loads a `Component`: that is
code which the user installed, never a path that a file names.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import BaseModel, Field

from toolkit.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Component:
    """A component: `kind` in YAML, its configuration class, and what builds it from one.

    The configuration class must have `kind: Literal["<name>"]`.
    """

    name: str
    config: type[BaseModel]
    build: Callable[..., Any]

    @property
    def description(self) -> str:
        """First line of the configuration class's docstring."""
        return (self.config.__doc__ or "").strip().split("\n")[0]

    @property
    def digest(self) -> str:
        """SHA-256 of the source of the module that defines the component: changed code, other results."""
        source = inspect.getsourcefile(self.config)
        return hashlib.sha256(Path(source).read_bytes() if source else self.name.encode()).hexdigest()


@dataclass
class Registry:
    """The components of one kind, built-in ones first, entry points when first asked."""

    table: str
    components: dict[str, Component] = field(default_factory=dict)
    _discovered: bool = False

    def add(self, component: Component) -> None:
        if component.name in self.components:
            raise ValueError(f"{self.table}: `{component.name}` is registered twice")
        self.components[component.name] = component

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for point in entry_points(group=f"toolkit.{self.table}"):
            component = point.load()
            if not isinstance(component, Component):
                raise ConfigError(
                    f"entry point `{point.name}` of `{point.dist and point.dist.name}` is not a Component",
                    fix=f"let it load a toolkit.registry.Component (group toolkit.{self.table})",
                )
            self.add(component)

    def __iter__(self) -> Iterator[Component]:
        self._discover()
        return iter(self.components.values())

    def names(self) -> list[str]:
        return [component.name for component in self]

    def get(self, name: str) -> Component:
        self._discover()
        if name not in self.components:
            raise ConfigError(
                f"no {self.table} component is called `{name}`", fix=did_you_mean(name, self.components)
            )
        return self.components[name]

    def union(self) -> Any:
        """The configuration classes as a type discriminated by `kind`, for pydantic."""
        classes = tuple(component.config for component in self)
        if not classes:
            return dict[str, Any]
        if len(classes) == 1:
            return classes[0]
        return Annotated[Union[classes], Field(discriminator="kind")]  # noqa: UP007


models = Registry("models")
worlds = Registry("worlds")
validators = Registry("validators")
