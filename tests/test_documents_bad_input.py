"""Files that cannot be read, or not as they are: each is rejected by name for one reason, and the others go on."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from conftest import Work, rejected, rows
from papers import by_hand, dataset, endless_pdf, load, pdf, prose, saved, scan, stream
from PIL import Image

import toolkit
from toolkit.config.reading import Limits
from toolkit.data.tables import Tables
from toolkit.documents.opening import RejectedError, kind_of, opened

LIMITS = {"pages": 20, "megabytes": 3, "megapixels": 30, "seconds": 4}
UNLABELLED = {"documents": {"label"}}
DAMAGED = "is cut off or damaged"
LARGE = "holds a picture of more than 30 megapixels"


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def locked() -> bytes:
    from reportlab.lib.pdfencrypt import StandardEncryption

    return pdf([prose(1)], encrypt=StandardEncryption("secret", ownerPassword="owner"))


def with_picture(width: int, height: int) -> bytes:
    facts = b"/Type/XObject/Subtype/Image/ColorSpace/DeviceGray/BitsPerComponent 1/Width %d/Height %d" % (
        width,
        height,
    )
    return by_hand(b"612 0 0 792 0 0 cm /I Do", b"/XObject<</I 5 0 R>>", objects=[stream(b"\0" * 100, facts)])


def large_tiff() -> bytes:
    """Its second page is the large one."""
    pages = [Image.new("1", (100, 100), 1), Image.new("1", (8_000, 5_000), 1)]
    return saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="group4")


def bad_files() -> dict[str, tuple[bytes, str | None]]:
    """File → its content, and why it is rejected (None: it is not)."""
    whole, picture = pdf([prose(2), prose(3)]), saved(scan(prose(4)), "PNG")
    webp = b"RIFF\x10\0\0\0WEBPVP8 \0\0\0\0"
    return {
        "good.pdf": (whole, None),
        "locked.pdf": (locked(), "is encrypted"),
        "cut off.pdf": (whole[: len(whole) * 2 // 3], DAMAGED),
        "cut off.png": (picture[: len(picture) // 2], DAMAGED),
        "cut off.jpg": (saved(scan(prose(4)), "JPEG")[:9_000], DAMAGED),
        "cut off.tif": (saved(scan(prose(4)), "TIFF")[:90_000], DAMAGED),
        "nothing.pdf": (b"", "is empty (0 bytes)"),
        "no pages.pdf": (by_hand(b"").replace(b"/Kids[3 0 R]/Count 1", b"/Kids[]/Count 0     "), DAMAGED),
        "bomb.png": (png_header(40_000, 40_000), LARGE),
        "bomb.pdf": (by_hand(b"", page=b"/MediaBox[0 0 14400 14400]") , None),  # empty, so that nothing is drawn large
        "bomb drawn.pdf": (by_hand(b"0 0 m 9 9 l S", page=b"/MediaBox[0 0 14400 14400]"), LARGE),
        "bomb inside.pdf": (with_picture(40_000, 40_000), LARGE),
        "bomb behind.tif": (large_tiff(), LARGE),
        "many.pdf": (pdf(["page"] * 500), "has more than 20 pages"),
        "endless.pdf": (endless_pdf(), "takes longer than 4 s"),
        "heavy.txt": (b"word " * 700_000, "is larger than 3 MB"),
        "pages.docx": (b"PK\x03\x04" + b"\0" * 60, "is a ZIP archive, or an office document, not a PDF, TIFF, PNG, JPEG or plain text"),
        "moving.gif": (b"GIF89a" + b"\0" * 60, "is a GIF picture, not a PDF, TIFF, PNG, JPEG or plain text"),
        "web.webp": (webp, "is a WebP picture, not a PDF, TIFF, PNG, JPEG or plain text"),
        "program": (b"\x7fELF\2\1\1" + b"\0" * 60, "is not a PDF, TIFF, PNG, JPEG or plain text"),
        "bytes at its end.txt": (b"word " * 2_000 + b"\0\1\2", "is not a PDF, TIFF, PNG, JPEG or plain text"),
        "a picture.pdf": (picture, None),
        "a pdf.txt": (pdf([prose(5)]), None),
        "empty page.pdf": (by_hand(b""), None),
        "white.png": (saved(Image.new("L", (600, 800), 255), "PNG"), None),
        "blank.txt": (b"  \n", None),
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one folder, with a link that leads out of it and a pipe that nobody writes into."""
    base = tmp_path_factory.mktemp("bad")
    folder = base / "papers"
    folder.mkdir()
    for name, (content, _) in bad_files().items():
        (folder / name).write_bytes(content)
    (base / "secret.txt").write_text("of somebody else")
    (folder / "link.txt").symlink_to(base / "secret.txt")
    (folder / "lost.txt").symlink_to(base / "not there.txt")
    (folder / "up").symlink_to(base)
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").write_text("the system's")
    return folder


@pytest.fixture(scope="module")
def read(folder: Path) -> Tables:
    return load(
        dataset(limits=LIMITS), folder, folder.parent / "cache", ("documents", "pages"), optional=UNLABELLED
    )


REASONS = {name: reason for name, (_, reason) in bad_files().items()} | {
    "link.txt": "lies outside the folder", "lost.txt": "lies outside the folder", "up": "lies outside the folder",
    "pipe": "is no regular file",
}  # fmt: skip


def test_each_bad_file_has_its_reason_and_no_other_file_is_lost(read: Tables) -> None:
    table = read["documents"]
    why = {row["document"]: row["@reason"] for row in rejected(table)}
    assert why == {name: reason for name, reason in REASONS.items() if reason}
    kept = {row["document"] for row in rows(table)}
    assert kept == {name for name, reason in REASONS.items() if not reason}
    assert table.rows_read == len(kept) + len(why) == len(REASONS)
    assert {row["document"] for row in rows(read["pages"])} == kept


def test_a_file_is_what_its_content_says_and_that_is_told(read: Tables) -> None:
    formats = {row["document"]: row["format"] for row in rows(read["documents"])}
    assert formats["a picture.pdf"] == "png"
    assert formats["a pdf.txt"] == "pdf"
    (told,) = [line for line in read["documents"].remarks if "not as their names say" in line]
    assert (
        told
        == "read as what they are, not as their names say: 2 (`a pdf.txt` is pdf, `a picture.pdf` is png)"
    )


def test_an_empty_page_is_a_page_without_words(read: Tables) -> None:
    found = {row["document"]: row for row in rows(read["documents"])}
    for name in ("empty page.pdf", "white.png", "blank.txt"):
        assert (found[name]["pages"], found[name]["words"]) == (1, 0), name
        assert not (found[name]["text"] or "").strip()
    assert any(line.startswith("pages without a word: ") for line in read["documents"].remarks)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """What was decoded would be seen in the memory that it takes."""
    import tracemalloc

    path = tmp_path / "bomb.tif"
    path.write_bytes(saved(Image.new("1", (11_000, 11_000), 1), "TIFF", compression="group4"))
    assert path.stat().st_size < 60_000
    Image.new("1", (1, 1)).save(io.BytesIO(), "TIFF")
    tracemalloc.start()
    with pytest.raises(RejectedError, match="more than 100 megapixels"), opened(path, Limits()):
        pass
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    with opened(path, Limits(megapixels=500)) as document:  # the limit alone decides
        assert document.pages == 1


def test_the_first_pages_of_a_long_document_are_read_where_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(pdf(["page"] * 30))
    with pytest.raises(RejectedError, match="has more than 20 pages"), opened(path, Limits(pages=20)):
        pass
    with opened(path, Limits(pages=20, on_more_pages="first")) as document:
        assert document.pages == 20


def test_a_reader_that_breaks_down_takes_its_document_only(tmp_path: Path) -> None:
    import working

    from toolkit.documents.readers import Readers

    with Readers(working.work, 2) as readers:
        found = {
            one.task: (one.what, one.value) for one in readers.answers(["a", "die", "b", "oops", "c"], 30)
        }
        again = {one.task: one.what for one in readers.answers(["d", "hang"], 1)}
        processes = [reader.process.pid for reader in readers.readers]
    assert {found[name] for name in "abc"} == {("done", "read a"), ("done", "read b"), ("done", "read c")}
    assert found["die"] == ("rejected", "its reader broke down")
    assert found["oops"] == ("rejected", "cannot be read (ZeroDivisionError: a bug)")
    assert again == {"d": "done", "hang": "rejected"}
    for pid in processes:  # none outlives the block
        with pytest.raises(ProcessLookupError):
            os.kill(pid or 0, 0)


HANGING = """
import working
from toolkit.documents.readers import Readers
with Readers(working.work, 1) as readers:
    for answer in readers.answers(["a", "hang"], 600):
        print(readers.readers[0].process.pid, flush=True)
"""  # started without `if __name__ == "__main__"`


def test_a_reader_ends_in_the_middle_of_a_page_when_its_run_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(HANGING)
    paths = os.pathsep.join([str(Path(toolkit.__file__).parents[1]), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert process.stdout
    reader = int(process.stdout.readline())
    assert _runs(reader)
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    for _ in range(100):
        if not _runs(reader):
            return
        time.sleep(0.1)
    os.kill(reader, signal.SIGKILL)
    raise AssertionError("the reader goes on although nobody asks any more")


def _runs(process: int) -> bool:
    """Is it there, and more than an entry that nobody has taken note of?"""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


INDEX = """file,label
a.txt,one
./a.txt,one
../secret.txt,one
../../../../etc/passwd,one
/etc/passwd,two
sub,two
sub\\b.txt,two
gone.txt,two
,two
b.png,two
"""


def test_an_index_names_files_of_its_folder_only(tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    (papers / "sub").mkdir(parents=True)
    for place in ("papers/a.txt", "papers/sub/b.txt", "secret.txt"):
        (tmp_path / place).write_text(prose(len(place)))
    (papers / "index.csv").write_text(INDEX)
    (papers / "not listed.txt").write_text("a word")
    table = load(dataset(), papers, tmp_path / "cache")["documents"]
    assert {row["document"]: row["label"] for row in rows(table)} == {"a.txt": "one", "sub/b.txt": "two"}
    assert [(row["@row"], row["@reason"]) for row in rejected(table)] == [
        (2, "stands in an earlier row of the index already"),
        (3, "lies outside the folder"),
        (4, "lies outside the folder"),
        (5, "lies outside the folder"),
        (6, "is a folder, not a file"),
        (8, "there is no such file"),
        (9, "its row names no file"),
        (10, "there is no such file"),
    ]
    assert table.rows_read == table.rows_kept + table.rows_rejected == 10


@pytest.mark.parametrize(
    ("files", "more", "what"),
    [
        ({}, {}, "no file lies in the folder `data`"),
        ({"index.csv": "place,label\na.txt,x\n"}, {}, "`index.csv` has no column `file`, which says where each document lies"),
        ({"index.csv": "file,text\na.txt,x\n"}, {}, "`index.csv` has a column `text`, which reading makes itself"),
        ({"index.csv": "file,label\na.txt,x,y\n"}, {}, "`index.csv` has 1 lines that are no rows"),
        ({"a.txt": "x"}, {"index": "list.csv"}, "`data` has no `list.csv`, which lists the documents"),
        ({"a.txt": "x"}, {}, "the files of `data` lie in no folders, which would be their labels"),
    ],
)  # fmt: skip
def test_a_folder_that_is_none_is_refused(work: Work, files: Any, more: dict[str, Any], what: str) -> None:
    from toolkit.errors import DataError

    place = work.folder / "papers" / "data"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_text(content)
    with pytest.raises(DataError) as error:
        load(dataset(**more), place, work.folder / "cache")
    assert error.value.what == what


def test_all_rejected_is_said_with_the_reasons(tmp_path: Path) -> None:
    from toolkit.errors import DataError

    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.pdf").touch()
    (tmp_path / "x" / "b.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="all 2 rows of `x` were rejected") as error:
        load(dataset(), tmp_path / "x", tmp_path / "cache", optional=UNLABELLED)
    assert "is empty (0 bytes): 1 rows" in str(error.value.why)
    strict = dataset()
    strict["tables"]["documents"]["on_bad_row"] = "refuse"
    with pytest.raises(DataError, match="breaks the contract of table `documents` in 2 of 2 rows"):
        load(strict, tmp_path / "x", tmp_path / "cache", optional=UNLABELLED)


@pytest.mark.parametrize("head", [b"%PDF-1.7", b"\xef\xbb\xbf%PDF-1.4", b"\n\n%PDF-1.4"])
def test_a_pdf_may_begin_a_little_later(head: bytes) -> None:
    assert kind_of(head + b"\n1 0 obj") == "pdf"


@pytest.mark.parametrize("module", ["pypdfium2", "PIL", "cv2"])
def test_a_package_that_is_absent_or_broken_is_one_line(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a rejected document each: OpenCV without a library of the system is there and does not load."""
    from toolkit.documents import opening
    from toolkit.errors import ConfigError

    def load(name: str) -> None:
        if name == module:
            raise ImportError("libGL.so.1: cannot open shared object file")

    opening.need_documents()  # the control
    monkeypatch.setattr(opening, "import_module", load)
    with pytest.raises(ConfigError, match=r"cannot be loaded: libGL\.so\.1") as broken:
        opening.need_documents()
    monkeypatch.setattr("toolkit.errors.find_spec", lambda name: None if name == module else object())
    with pytest.raises(ConfigError, match="which is not installed") as absent:
        opening.need_documents()
    for error in (broken, absent):
        assert "toolkit[documents]" in str(error.value.fix)
