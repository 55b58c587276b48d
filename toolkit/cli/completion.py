"""Tab completion of bash, for `toolkit` and for `python -m toolkit`.

Hydra's own script completes `python file.py` only, and knows no verbs.
"""

from __future__ import annotations

import re

INSTALL = r"""_toolkit_complete() {
  local line="${COMP_LINE:0:COMP_POINT}" words
  if [[ "$line" == python* && "$line" != *"-m toolkit"* ]]; then
    compopt -o default; COMPREPLY=(); return
  fi
  read -ra words <<< "$line"
  local runner=("${words[0]}")
  [[ "${words[0]}" == python* ]] && runner=("${words[0]}" -m toolkit)
  local word="${line##* }"
  COMPREPLY=($(compgen -W "$(COMP_LINE="$line" "${runner[@]}" -sc query=bash 2>/dev/null)" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _toolkit_complete toolkit python python3
"""
UNINSTALL = "complete -r toolkit python python3; unset -f _toolkit_complete"


def script(arguments: list[str]) -> str | None:
    """What `-sc install=bash` or `-sc uninstall=bash` prints; None for anything else."""
    if not {"-sc", "--shell-completion"} & set(arguments):
        return None
    return INSTALL if "install=bash" in arguments else UNINSTALL if "uninstall=bash" in arguments else None


def query_line(line: str, verbs: list[str]) -> tuple[str, list[str]]:
    """The line as Hydra can read it (without `python -m toolkit` and the verb), and verbs to offer."""
    typed = re.sub(r"^\s*(\S*python[\d.]*\s+-m\s+)?\S*toolkit\s?", "", line)
    first, blank, rest = typed.partition(" ")
    if first in verbs and blank:
        return f"toolkit {rest}", []
    return f"toolkit {typed}", [verb for verb in verbs if not blank and verb.startswith(first)]
