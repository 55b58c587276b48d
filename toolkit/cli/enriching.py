"""The verb `enrich`: write declared fields beside a list that a run or a scoring has left."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rich.text import Text

from toolkit.cli.masking import MASK
from toolkit.cli.terminal import OUT, Ticker, pairs, switches
from toolkit.config.enrichment import Rows
from toolkit.config.paths import options, readable, roots
from toolkit.errors import ConfigError, did_you_mean
from toolkit.runfolder import aside, free

CHANGED = ("top", "provider", "model", "base_url", "prompt", "max_requests", "max_tokens", "max_cost")
HELP = f"""python -m toolkit enrich run=FOLDER [enrichment=NAME] [list=NAME] [output=FOLDER]
                         [{"=…] [".join(CHANGED[:4])}=…]
                         [{"=…] [".join(CHANGED[4:])}=…] [quiet=true] [verbose=true]

Writes declared fields beside the best rows of a ranked list: by a language model, or by rules.
Replies are kept: what was asked before, by a run that was killed too, is not asked again.

  run         folder of a run, or of a scoring, with a ranked list
  enrichment  option of conf/enrichment; default: what the run's recipe declares
  list        name of the list's file without `.csv`; default: the declared target's
  output      folder to write; default: outputs/enriched/<recipe>/<time>
  {", ".join(CHANGED)}
              in place of what is declared
"""


def enrich(arguments: list[str]) -> int:
    """Enrich a list that is already there."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    given = pairs(arguments, ("run", "enrichment", "list", "output", *CHANGED, "quiet", "verbose"))
    say = switches(given)
    if "run" not in given:
        raise ConfigError("which run's list?", where="command line", fix="run=outputs/<recipe>/<time>")
    folder = Path(given["run"])
    if not folder.is_dir():
        raise ConfigError(f"there is no folder `{folder}`", where="run", fix="run=outputs/<recipe>/<time>")
    changed = {key: given[key] for key in CHANGED if key in given}
    node = chosen(given["enrichment"], changed) if "enrichment" in given else declared(folder, changed)

    from toolkit.actions import enrichment
    from toolkit.actions.enrichment import lists

    ready = enrichment.ready(node)
    stem, ranked = lists.kept(folder, node.target, given.get("list"))
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    output = (
        Path(given["output"])
        if "output" in given
        else free(Path("outputs/enriched", folder.resolve().parent.name, stamp))
    )
    with Ticker(say["quiet"], verbose=say["verbose"]) as ticker, aside(output) as place:
        found = enrichment.enrich(ready, ranked, ticker)
        lines = lists.said(found, enrichment.write(found, place.path, f"{stem}_{node.suffix}"))
    for line in [str(place.final)] if say["quiet"] else [*lines, f"files: {place.final}"]:
        OUT.print(Text(line), soft_wrap=True)
    return 0


def declared(folder: Path, changed: dict[str, Any] | None = None) -> Rows:
    """What a run's configuration declares. Raises ConfigError if that is nothing, or is not whole."""
    if (found := of_run(folder, changed)) is not None:
        return found
    raise ConfigError(
        f"the run `{folder}` declares no enrichment", where="run",
        fix=f"enrichment=<one of {', '.join(options(roots()).get('enrichment', {}))}>",
    )  # fmt: skip


def of_run(folder: Path, changed: dict[str, Any] | None = None) -> Rows | None:
    """What a run's configuration declares; None if there is no configuration, or it declares nothing."""
    file = folder / "config.yaml"
    try:
        plain = yaml.safe_load(file.read_text(encoding="utf-8")).get("enrichment") if file.is_file() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise ConfigError(
            "the run's configuration cannot be read", where=str(file), why=str(error)[:200]
        ) from None
    if not isinstance(plain, dict) or plain.get("kind") != "rows":
        return None
    return _typed(plain | (changed or {}), file)


def chosen(name: str, changed: dict[str, Any]) -> Rows:
    """An option of conf/enrichment, without a recipe around it."""
    known = options(roots()).get("enrichment", {})
    if name not in known:
        raise ConfigError(
            f"`enrichment` has no option called `{name}`", where="enrichment", fix=did_you_mean(name, known)
        )
    try:
        plain = yaml.safe_load(known[name].read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"`{name}` is no readable declaration", where=readable(known[name]), why=str(error)[:200]
        ) from None
    return _typed({**(plain if isinstance(plain, dict) else {}), **changed}, known[name])


def _typed(plain: dict[str, Any], file: Path) -> Rows:
    from pydantic import ValidationError

    for key, value in plain.items():
        if MASK in str(value) or "${" in str(value):
            raise ConfigError(
                f"`enrichment.{key}` is not known here: it was a secret, which is not kept, or refers to a recipe",
                where=readable(file), fix=f"give it: {key}=…" if key in CHANGED else f"write the value of `{key}` itself",
            )  # fmt: skip
    try:
        return Rows.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"`enrichment{'.' * bool(key)}{key}`: {first['msg']}", where=readable(file), fix="see conf/schema/enrichment.json"
        ) from None  # fmt: skip
