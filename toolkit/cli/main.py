"""`python -m toolkit [verb] overrides… [flags]`: picks the verb, lets Hydra compose, explains mistakes.

Exit codes: what the verb returns (0 is done), 2 for a mistake of the user's, 130 for Ctrl-C. Any
other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from toolkit import __version__
from toolkit.cli import screen
from toolkit.cli.help import OTHER, VERBS
from toolkit.config.paths import options, roots
from toolkit.errors import ConfigError, UserError, did_you_mean


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code. Never shows a traceback for a user's mistake."""
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        screen.show(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what is finished", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(arguments: list[str]) -> int:
    verb, rest = _split(arguments)
    if verb in OTHER:
        from toolkit.cli.job import handler

        return handler(verb)(rest)
    if (not rest and verb == "run") or {"-h", "--help"} & set(rest):
        from toolkit.cli import help as help_screen

        help_screen.show(roots(_config_dir(rest)[0]))
        return 0
    if "--version" in rest:
        print(f"toolkit {__version__}")
        return 0
    if any(word.startswith("--experimental-rerun") for word in rest):
        raise ConfigError("--experimental-rerun is not allowed", why="it loads a pickle, which can run code")

    from toolkit.cli import completion
    from toolkit.cli.resuming import resumed

    left = None
    if verb == "run":
        rest, left = resumed(rest)
    if said := completion.script(rest):
        print(said)
        return 0
    return _compose(verb, rest, left)


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb, `run` if none is named, and the rest."""
    if not arguments or "=" in arguments[0] or arguments[0][:1] in ("", "-", "+", "~"):
        return "run", arguments
    word = arguments[0]
    if word == "help":
        return "run", ["--help"]
    if word not in VERBS:
        recipes = options(roots()).get("recipe", {})
        fix = f"write recipe={word}" if word in recipes else did_you_mean(word, VERBS)
        raise ConfigError(f"there is no verb `{word}`", where="command line", fix=fix)
    return word, arguments[1:]


def _config_dir(rest: list[str]) -> tuple[str | None, list[str]]:
    """Take `--config-dir DIR` out: Hydra would put it last on the search path, we put it first."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config-dir", "-cd")
    try:
        known, others = parser.parse_known_args(rest)
    except argparse.ArgumentError as error:
        raise ConfigError(str(error), where="command line", fix="write --config-dir FOLDER") from None
    return known.config_dir, others


def _compose(verb: str, rest: list[str], left: Path | None = None) -> int:
    """Let Hydra compose, once or for each job of a multirun, and hand the result to the verb.

    left: what a killed run has left, which goes once the run that goes on from it is finished.
    """
    import hydra

    from toolkit.cli.job import Job
    from toolkit.cli.resuming import forget
    from toolkit.cli.translate import replacing, translate
    from toolkit.config.compose import install
    from toolkit.sweep import sweeper

    config_dir, rest = _config_dir(rest)
    search = install(config_dir)
    sweeper.install()
    words, flags = _words_and_flags(rest)
    given = list(words)
    job = Job(verb, config_dir)
    codes = job.codes

    app = hydra.main(version_base="1.3", config_path=None, config_name="config")(job)
    with tempfile.TemporaryDirectory() as aside:
        if verb != "run":  # Hydra makes its output folder for every verb
            words += [f"hydra.run.dir='{aside}/run'", f"hydra.sweep.dir='{aside}/sweep'"]
        try:
            with _started_as([*words, *flags]):
                app()
        except SystemExit as end:  # after --cfg, --info and the like
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception as error:
            if not codes and (replaced := replacing(error, given)):
                again = ["--config-dir", config_dir] if config_dir else []
                return _compose(verb, [*replaced, *flags, *again], left)
            ours = isinstance(error, UserError) or codes
            mistake = None if ours or os.environ.get(FULL) == "1" else translate(error, words, search)
            if mistake is None:
                raise
            raise mistake from None
    if left and codes and not any(codes):  # flags such as --cfg run nothing
        forget(left)
    return max(codes, default=0)


def _words_and_flags(rest: list[str]) -> tuple[list[str], list[str]]:
    """Overrides and flags apart, so that they may stand in any order; raises for unknown flags."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> NoReturn:
        unknown = next(
            (word for word in rest if word.startswith("-") and word.split("=")[0] not in flags), None
        )
        fix = did_you_mean(unknown, flags) if unknown else "put flags after the overrides"
        raise ConfigError(message, where="command line", fix=fix)

    parser.error = refuse  # type: ignore[method-assign]
    words = parser.parse_intermixed_args(rest).overrides
    return [_quoted(word) for word in words], [word for word in rest if word not in words]


def _quoted(word: str) -> str:
    """An override that Hydra's grammar takes: values with letters beyond ASCII, or a `;`, need quotes there."""
    key, sign, value = word.partition("=")
    foreign = sign and re.search(r"[^\x20-\x7e]|;", value) and not re.search(r"""['"\[\]{}(),$\\]""", value)
    return f'{key}="{value}"' if foreign else word


FULL = "HYDRA_FULL_ERROR"


@contextmanager
def _started_as(arguments: list[str]) -> Iterator[None]:
    """The process as Hydra should see it: these arguments, and errors raised instead of printed."""
    from toolkit.cli.completion import query_line

    line, offered = query_line(os.environ.get("COMP_LINE", ""), list(VERBS))
    if "query=bash" in arguments:
        print(" ".join(offered))
    wanted = {FULL: "1", "COMP_LINE": line}
    before = (sys.argv, {name: os.environ.get(name) for name in wanted})
    root = logging.getLogger()
    logged = (root.handlers[:], root.level)  # Hydra sets its own up, and leaves them there
    try:
        sys.argv = ["toolkit", *arguments]
        os.environ.update(wanted)
        yield
    finally:
        sys.argv = before[0]
        root.handlers[:], root.level = logged
        for name, value in before[1].items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
