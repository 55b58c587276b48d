"""`--help`: verbs, recipes and groups on one screen, without composing anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from toolkit.config.paths import Root, options, packaged, readable

COMPOSING = {
    "run": "prepare, fit, evaluate, report and bundle (the default)",
    "plan": "what a run would do, without doing it",
    "check": "prove that nothing leaks, on your own data",
    "show": "the composed configuration, and where each value comes from",
    "simulate": "write the tables of a recipe's simulated world",
}
OTHER = {
    "score": "score new data with a bundle",
    "enrich": "fields beside a list's best rows, by a language model or rules",
    "compare": "runs side by side, or a sweep's leaderboard",
    "list": "recipes, and the options of every group",
    "schema": "write JSON Schemas for editors",
}
VERBS = {**COMPOSING, **OTHER}

FLAGS = {
    "-m, --multirun": "every combination: -m recipe=NAME model=lightgbm,xgboost seed=1,2",
    "--cfg job": "print the composed YAML instead of running",
    "--config-dir DIR": "a folder of declarations to look in first",
    "--info searchpath": "where declarations are looked for",
    "-sc install=bash": 'tab completion: eval "$(python -m toolkit -sc install=bash)"',
    "resume=FOLDER": "go on with a run that was killed: outputs/<recipe>/.unfinished-…",
    "--version": "the toolkit's version",
}


def show(search: list[Root]) -> None:
    """Print the help screen on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    groups = options(search)
    recipes = groups.pop("recipe", {})
    console = Console(highlight=False)

    def section(title: str, rows: dict[str, str]) -> None:
        console.print(Text(f"\n{title}", style="bold"))
        grid = Table.grid(padding=(0, 2))
        for name, text in rows.items():
            grid.add_row(Text(f"  {name}", style="cyan", no_wrap=True), Text(text))
        console.print(grid)

    console.print(
        Text("python -m toolkit [verb] recipe=NAME [group=option …] [key=value …] [flags]", style="bold")
    )
    section("Verbs", VERBS)
    section("Recipes", {name: description(path) for name, path in recipes.items()} or {"–": "none found"})
    section(
        "Groups (group=option; target, features and model take [a,b])",
        {g: ", ".join(o) for g, o in groups.items()},
    )
    section("Flags", FLAGS)


HEADER = re.compile(r"#\s*(@|yaml-language-server)")  # lines for Hydra and for editors, not for readers


def description(recipe: Path) -> str:
    """One line about a recipe: its `description`, or its first comment."""
    try:
        text = recipe.read_text(encoding="utf-8-sig")
        said = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)).get("description")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, RecursionError):
        return "(not a readable declaration)"
    comments = (
        line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and not HEADER.match(line)
    )
    return str(said).strip().split("\n")[0] if said else next((c for c in comments if c), "")


@dataclass(frozen=True)
class Option:
    """A line of `list`. yours: the file, where it is not one that comes with the toolkit."""

    name: str
    text: str
    yours: str = ""


def described(group: str, files: Mapping[str, Path]) -> list[Option]:
    """The options of a group; for models also what packages that the user installed add to them."""
    ours = packaged().resolve()
    found = {
        name: Option(name, description(path), "" if path.resolve().is_relative_to(ours) else readable(path))
        for name, path in files.items()
    }
    if group == "model":
        import toolkit.models  # noqa: F401  registers the built-in ones
        from toolkit.registry import models

        for component in models:
            option = found.get(component.name)
            if option is None:
                fix = f"no declaration yet: write conf/model/{component.name}.yaml with `kind: {component.name}`"
                found[component.name] = Option(component.name, f"{component.description} ({fix})")
            elif not option.text:
                found[component.name] = replace(option, text=component.description)
    return [found[name] for name in sorted(found)]
