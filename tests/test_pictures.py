"""Pictures of rows: which ones, in which order, and what becomes of a file's bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn import page
from PIL import Image
from small import config, quiet
from worlds import declare, make

from toolkit.config.tables import Dataset
from toolkit.errors import ConfigError, DataError
from toolkit.modalities import Images
from toolkit.prepare.pictures import fitted
from toolkit.proof import all_proofs

TABLES: dict[str, Any] = {
    "papers": {"key": "paper", "known": "always", "columns": {"paper": "text", "label": "text"}},
    "pages": {
        "entity": "paper",
        "known": "always",
        "columns": {"paper": "text", "page": "integer", "image": "image", "note": "text"},
    },
}
ASKED = {"kind": "image", "table": "pages", "height": 32, "width": 24}


def png(picture: np.ndarray | Image.Image, form: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(file, form, **more)
    return file.getvalue()


def grey(value: int) -> bytes:
    return png(np.full((32, 24), value, np.uint8))


def shown(
    folder: Path, rows: list[tuple[str, int, bytes | None]], papers: str = "abc", **asked: Any
) -> Images:
    """What a feature set makes of a table of pages; papers, one letter each, are the rows."""
    (folder / "papers.csv").write_text("paper,label\n" + "".join(f"{one},x\n" for one in papers))
    frame = pd.DataFrame(rows, columns=["paper", "page", "image"]).assign(note="n")
    image = pa.array(frame["image"], pa.binary())  # of nothing but gaps pandas makes no column of bytes
    pq.write_table(pa.Table.from_pandas(frame).set_column(2, "image", image), folder / "pages.parquet")
    data = Dataset.model_validate({"entity": "papers", "tables": TABLES})
    made = make(folder, declare({"cutoffs": None}, {"looks": ASKED | asked}, data=data))
    (images,) = made.matrix().images
    return images


def test_a_rows_pictures_come_in_order_the_first_ones_only_and_none_where_there_is_none(
    tmp_path: Path,
) -> None:
    rows = [
        ("a", 10, grey(10)),
        ("c", 1, grey(1)),
        ("a", 2, grey(2)),
        ("a", 1, None),
        ("a", 9, grey(9)),
        ("b", 1, b""),
    ]
    images = shown(tmp_path, rows, first=2)
    assert images.pixels.shape == (3, 32, 24)
    assert images.pixels.dtype == np.uint8
    assert images.lengths.tolist() == [2, 0, 1]  # a, b, c
    assert images.pixels[:, 0, 0].tolist() == [2, 9, 1]  # by page, as a number; what is empty does not count
    again = images.some(np.array([2, 0, 0]))
    assert again.lengths.tolist() == [1, 2, 2]
    assert again.pixels[:, 0, 0].tolist() == [1, 2, 9, 2, 9]


def test_of_pictures_at_one_place_the_one_whose_key_comes_first_is_first(tmp_path: Path) -> None:
    pages = TABLES["pages"] | {"key": "note"}
    for order in (1, -1):
        folder = tmp_path / str(order)
        folder.mkdir()
        (folder / "papers.csv").write_text("paper,label\na,x\n")
        frame = pd.DataFrame(
            {"paper": "a", "page": 1, "image": [grey(n) for n in range(9)], "note": [*"ihgfedcba"]}
        )
        pq.write_table(pa.Table.from_pandas(frame[::order], preserve_index=False), folder / "pages.parquet")
        data = Dataset.model_validate({"entity": "papers", "tables": TABLES | {"pages": pages}})
        (images,) = (
            make(folder, declare({"cutoffs": None}, {"looks": ASKED | {"first": 3}}, data=data))
            .matrix()
            .images
        )
        assert images.pixels[:, 0, 0].tolist() == [8, 7, 6]


def test_no_row_has_a_picture(tmp_path: Path) -> None:
    images = shown(tmp_path, [("a", 1, None)], papers="ab")
    assert images.pixels.shape == (0, 32, 24)
    assert images.lengths.tolist() == [0, 0]


BLACK, PALE = np.zeros((32, 24), np.uint8), np.full((32, 24), 128, np.uint8)
CLEAR = np.dstack([BLACK, BLACK, BLACK, np.where(np.arange(24) < 12, 255, 0) * np.ones((32, 1))]).astype(
    np.uint8
)
BESIDE = np.where(np.arange(24) < 12, 0, 255) * np.ones((32, 1))  # ink on the left, paper on the right


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (png(Image.fromarray(CLEAR)), BESIDE),  # what is transparent is paper, though its colour is black
        (png(Image.fromarray(CLEAR[:, :, 2:].copy())), BESIDE),
        (png(Image.fromarray(CLEAR).quantize()), BESIDE),
        (png(np.full((32, 24), 0x8080, np.uint16)), PALE),  # 16 bits
        (png(PALE, "JPEG"), PALE),
        (png(Image.fromarray(PALE).convert("CMYK"), "TIFF"), PALE),
        (png(Image.fromarray(BLACK).convert("1")), BLACK),
    ],
    ids=["alpha", "grey and alpha", "palette and alpha", "16 bits", "jpeg", "cmyk", "one bit"],
)
def test_every_kind_of_picture_becomes_grey(content: bytes, seen: np.ndarray) -> None:
    assert np.abs(fitted(content, (32, 24), "looks").astype(int) - seen).max() <= 3


def test_a_picture_keeps_its_proportions_in_the_middle_of_white() -> None:
    found = fitted(png(np.zeros((10, 40), np.uint8)), (32, 24), "looks")
    assert np.flatnonzero((found == 0).all(1)).tolist() == [*range(13, 19)]  # 24 wide, so 6 high
    assert (found[:13] == 255).all()


def test_a_photo_stands_as_its_camera_says() -> None:
    facts = Image.Exif()
    facts[0x0112] = 6  # turned by a quarter
    left = np.where(np.arange(32) < 16, 0, 255).astype(np.uint8) * np.ones((24, 1), np.uint8)
    found = fitted(png(left, "PNG", exif=facts), (32, 24), "looks")
    assert found[:16].max() == 0
    assert found[16:].min() == 255


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7 no picture",
        png(page("table", np.random.default_rng(0)))[:900],
        grey(5)[:40] + b"\0" * 60,
    ],
    ids=["another file", "cut short", "spoilt"],
)
def test_bytes_that_are_no_picture_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="a picture of `looks` cannot be decoded"):
        shown(tmp_path, [("a", 1, content)])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"column": "note"}, "`note` is no image but text"),
        ({"column": "imago"}, "image"),
        ({"order": "pag"}, "page"),
        ({"table": "papers"}, "papers"),
    ],
)
def test_what_is_no_picture_is_refused_before_any_is_read(
    tmp_path: Path, wrong: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        shown(tmp_path, [("a", 1, grey(0))], **wrong)


# --- proofs -----------------------------------------------------------------------------------------


def album(folder: Path) -> Any:
    """People and their photos, over the years; the last before a cutoff counts as any before it."""
    (folder / "data").mkdir(parents=True)
    rng = np.random.default_rng(0)
    people = [f"p{number:03d}" for number in range(150)]
    owner = rng.choice(people, 600)
    days = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 4 * 365, 600), "D")
    photos = pd.DataFrame({"id": owner, "day": days.strftime("%Y-%m-%d"), "nr": rng.permutation(600)})
    photos["photo"] = [grey(int(value)) for value in rng.integers(0, 255, 600)]
    photos.to_parquet(folder / "data" / "photos.parquet")
    pd.DataFrame({"id": people}).to_csv(folder / "data" / "people.csv", index=False)
    columns = {"id": "text", "day": "date", "nr": "integer", "photo": "image"}
    again = {"kind": "event_within", "table": "photos", "horizon": "12 months"}
    tables = {
        "people": {"key": "id", "known": "always", "columns": {"id": "text"}},
        "photos": {"entity": "id", "clock": "day", "columns": columns, "observed_until": "2022-12-31"},
    }
    return config(
        folder,
        dataset={"entity": "people", "tables": tables},
        cohort={"cutoffs": ["2020-07-01", "2021-01-01", "2021-07-01", "2022-01-01"]},
        target={"again": again},
        features={
            "album": {"kind": "image", "table": "photos", "column": "photo", "order": "nr", "first": 3,
                      "height": 16, "width": 16},
            "often": {"kind": "windows", "table": "photos", "windows": ["all"], "features": [{"agg": "count"}]},
        },
        split={"kind": "temporal"},
    )  # fmt: skip


def test_the_proofs_cover_pictures(tmp_path: Path) -> None:
    proofs = all_proofs(album(tmp_path), quiet)
    assert all(proof.holds for proof in proofs), [proof.text for proof in proofs if not proof.holds]


def test_the_proof_would_see_a_picture_from_the_future(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: pictures that are seen whenever they were taken."""
    from toolkit.prepare.frame import Look

    monkeypatch.setattr(Look, "seen", lambda self: None)
    proofs = all_proofs(album(tmp_path), quiet)
    assert any("feature `album.photo" in proof.text and not proof.holds for proof in proofs)
