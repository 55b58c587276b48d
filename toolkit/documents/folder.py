"""Which documents there are: those that an index lists, or all files of a folder. None is left out unsaid."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.config.reading import Limits
from toolkit.documents.opening import RejectedError

LABEL = "label"
OUTSIDE = "lies outside the folder"


@dataclass(frozen=True)
class Entry:
    """A document as it is listed. key: the file's place in the folder, or the key of a row that holds a text.

    file: what is to be read; text: what needs no reading; columns: what else is known of it; rejected: why
    it is not read.
    """

    key: str
    file: Path | None = None
    text: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    rejected: str | None = None


def of_folder(root: Path) -> list[Entry]:
    """All files below a folder, in the order of their places; the folder that each lies in is its label.

    What begins with a point is the system's, and no document.
    """
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*linked, *files]:
            if not name.startswith("."):
                path = Path(folder, name)
                label = None if path.parent == root else _text(path.parent.name)
                place = _text(path.relative_to(root).as_posix())
                found.append(Entry(place, path, columns={LABEL: label}, rejected=_wrong(path, root)))
    return sorted(found, key=lambda entry: entry.key)


def of_file(path: Path) -> list[Entry]:
    """A single document."""
    return [Entry(_text(path.name), path, rejected=_wrong(path, path.parent))]


def of_index(rows: Iterable[Mapping[str, str | None]], root: Path, file: str) -> list[Entry]:
    """Documents that an index lists. file: its column with their places in the folder."""
    return list(_once(_listed(row, root, file) for row in rows))


def of_texts(rows: Iterable[Mapping[str, str | None]], key: str, text: str) -> list[Entry]:
    """Documents that are rows of a table. text: the column that holds them; key: theirs, or else their position."""
    found = []
    for number, row in enumerate(rows, 1):
        name = row.get(key, str(number)) or ""
        others = {column: value for column, value in row.items() if column != text}
        wrong = None if name else f"its row has no `{key}`"
        found.append(Entry(name, text=row[text] or "", columns=others, rejected=wrong))
    return list(_once(found))


def _once(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries, each but the first of a key rejected."""
    seen: set[str] = set()
    for entry in entries:
        again = entry.rejected is None and entry.key in seen
        seen.add(entry.key)
        yield (
            Entry(entry.key, None, None, entry.columns, "stands in an earlier row of the index already")
            if again
            else entry
        )


def _listed(row: Mapping[str, str | None], root: Path, file: str) -> Entry:
    place = (row[file] or "").strip()
    others = {column: value for column, value in row.items() if column != file}
    if not place:
        return Entry("", columns=others, rejected="its row names no file")
    if "\\" in place and not _exists(root / place):
        place = place.replace("\\", "/")  # an index that was written on Windows
    whole = Path(os.path.normpath(root / place))
    key = whole.relative_to(root).as_posix() if whole.is_relative_to(root) else place
    return Entry(_text(key), whole, columns=others, rejected=_wrong(whole, root))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except ValueError:
        return False


def _wrong(path: Path, root: Path) -> str | None:
    """Why a path is no file of the folder, as far as its name tells. Nothing outside is touched."""
    try:
        if not path.is_relative_to(root) or not path.resolve().is_relative_to(root.resolve()):
            return OUTSIDE
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError, RuntimeError):  # a link to itself, a name that cannot be one
        return "cannot be found"
    if stat.S_ISDIR(mode):
        return "is a folder, not a file"
    return None if stat.S_ISREG(mode) else "is no regular file"


def _text(name: str) -> str:
    """A file's name as a text, whatever its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def checked(path: Path, limits: Limits) -> int:
    """Bytes of a file that may be read. Raises RejectedError."""
    size = path.stat().st_size
    if not size:
        raise RejectedError("is empty (0 bytes)")
    if size > limits.megabytes * 1e6:
        raise RejectedError(f"is larger than {limits.megabytes:g} MB")
    return size
