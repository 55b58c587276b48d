"""The world of documents: the same for the same seed, of the shape it documents, with a truth that is true."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pypdfium2
import pytest
from PIL import Image

from toolkit.errors import ConfigError
from toolkit.simulate import documents, documents_damage, documents_desk, documents_files, documents_kinds
from toolkit.simulate import documents_layouts as layouts
from toolkit.simulate import documents_mess as mess
from toolkit.simulate.documents import DocumentWorld
from toolkit.simulate.documents_template import Template

WORLD = DocumentWorld(size=60)
MONEY = re.compile(r"(?:\$|USD )\d{1,3}(?:,\d{3})*(?:\.\d\d)?")
MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
DAY = re.compile(
    rf"\d\d/\d\d/\d{{4}}|\d{{4}}-\d\d-\d\d|{MONTH} \d+, \d{{4}}|\d+ {MONTH} \d{{4}}|\d+(?:st|nd|rd|th) day of {MONTH}, \d{{4}}"
)
PARCEL = re.compile(r"\b\d{3}-\d{3}-\d{2}\b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("documents")
    documents.simulate(WORLD, path)
    return path


@pytest.fixture(scope="module")
def index(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "index.csv")


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, pd.DataFrame]:
    return {
        name: pd.read_parquet(folder / "truth" / f"{name}.parquet")
        for name in ("documents", "pages", "entities")
    }


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    pdf = layouts.draw(Template.draw("purchase_agreement", 0), random.Random(1))[0]
    return documents_files.pictures(pdf, 100, [0])[0]


def flat(text: str) -> str:
    return " ".join(text.split())


class TestWhatIsWritten:
    def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
        self, folder: Path, truth: dict[str, pd.DataFrame]
    ) -> None:
        texts = truth["pages"].groupby("file")["text"].apply(list)
        for plan in documents_desk.planned(WORLD)[::3]:
            made = documents_desk.make(plan, WORLD.seed)
            assert made.content == (folder / made.file).read_bytes()
            assert ["\n".join(page.lines) for page in made.pages] == texts[made.file]
            assert documents_desk.make(plan, WORLD.seed + 1).content != made.content

    def test_the_index_names_every_file_once(self, folder: Path, index: pd.DataFrame) -> None:
        assert list(index.columns) == ["file", "label", "part", "template", "damage"]
        assert sorted(index["file"]) == sorted(f"files/{path.name}" for path in (folder / "files").iterdir())

    def test_all_nine_types_are_in_all_parts_and_no_template_is_in_two(self, index: pd.DataFrame) -> None:
        assert index.groupby("part")["label"].nunique().to_dict() == dict.fromkeys(
            ("train", "validation", "test"), 9
        )
        assert (index.groupby("template")["part"].nunique() == 1).all()
        parts = pd.Series([plan.part for plan in documents_desk.planned(DocumentWorld())])
        shares = parts.value_counts(normalize=True)
        assert shares["train"] == pytest.approx(0.6, abs=0.02)
        assert shares["test"] == pytest.approx(0.2, abs=0.02)

    def test_a_name_tells_nothing_of_the_type(self, index: pd.DataFrame) -> None:
        """Numbers are dealt at random: neighbours share a label no more often than strangers do."""
        plans = documents_desk.planned(DocumentWorld(size=4_000))
        labels = pd.Series([plan.label for plan in plans])
        alike = (labels == labels.shift()).mean()
        assert alike == pytest.approx((labels.value_counts(normalize=True) ** 2).sum(), abs=0.02)

    def test_another_seed_deals_the_templates_otherwise_but_they_stay_what_they_are(self) -> None:
        dealt = [
            {(plan.label, plan.template) for plan in documents_desk.planned(DocumentWorld(size=600, seed=seed)) if plan.part == "test"}
            for seed in (1, 2)
        ]  # fmt: skip
        assert dealt[0] != dealt[1]
        assert Template.draw("hoa_docs", 3) == Template.draw("hoa_docs", 3)
        assert all(len(kind.forms) >= 12 for kind in documents_kinds.kinds().values())

    def test_formats_are_what_their_endings_say(self, folder: Path, truth: dict[str, pd.DataFrame]) -> None:
        for row in truth["documents"].itertuples():
            path = folder / str(row.file)
            if row.format in ("pdf", "scan"):
                with pypdfium2.PdfDocument(path) as pdf:
                    assert len(pdf) == row.pages
                    assert bool(pdf[0].get_textpage().get_text_bounded()) == (row.format == "pdf")
            elif row.format != "text":
                with Image.open(path) as picture:
                    assert picture.format == {"tiff": "TIFF", "png": "PNG", "jpeg": "JPEG"}[str(row.format)]
                    assert getattr(picture, "n_frames", 1) == row.pages
        assert set(truth["documents"]["format"]) == {"pdf", "scan", "tiff", "png", "jpeg", "text"}
        assert truth["documents"]["pages"].between(1, 4).all()

    def test_without_the_drawing_libraries_there_is_one_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            documents_desk, "find_spec", lambda name: None if name == "reportlab" else object()
        )
        with pytest.raises(ConfigError, match="needs reportlab") as caught:
            documents.simulate(WORLD, tmp_path)
        assert caught.value.fix == "pip install 'toolkit[documents]'"


class TestTheTruth:
    def test_its_words_are_those_that_the_files_hold_in_their_order(
        self, folder: Path, truth: dict[str, pd.DataFrame]
    ) -> None:
        texts = truth["pages"].set_index(["file", "page"])["text"]
        forms = truth["documents"].set_index("file")["format"]
        for file in forms.index[forms == "pdf"]:
            with pypdfium2.PdfDocument(folder / file) as pdf:
                for number, drawn in enumerate(pdf, start=1):
                    said = flat(drawn.get_textpage().get_text_bounded())
                    assert said.replace(" ", "") == flat(texts[file, number]).replace(" ", ""), (file, number)
        for file in forms.index[forms == "text"]:
            assert flat((folder / file).read_text()) == flat(texts[file, 1])

    def test_an_entity_stands_on_its_page_and_its_value_is_what_it_says(
        self, truth: dict[str, pd.DataFrame]
    ) -> None:
        texts = truth["pages"].set_index(["file", "page"])["text"].map(flat)
        for each in truth["entities"].itertuples():
            assert str(each.text) in texts[each.file, each.page]
            if each.kind == "date":
                day = date.fromisoformat(str(each.value))
                assert str(day.year) in str(each.text)
                assert str(day.day) in str(each.text)
            if each.kind == "money":
                assert float(str(each.value)) == float(re.sub(r"[^\d.]", "", str(each.text)))
        assert set(truth["entities"]["kind"]) == {"party", "address", "date", "money", "parcel", "loan"}

    @pytest.mark.parametrize(("kind", "pattern"), [("money", MONEY), ("date", DAY), ("parcel", PARCEL)])
    def test_no_amount_date_or_parcel_is_printed_that_it_does_not_list(
        self, truth: dict[str, pd.DataFrame], kind: str, pattern: re.Pattern[str]
    ) -> None:
        listed: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        for each in truth["entities"].query("kind == @kind").itertuples():
            listed[str(each.file), int(each.page)][str(each.text)] += 1  # type: ignore[arg-type]
        for page in truth["pages"].itertuples():
            key = str(page.file), int(page.page)  # type: ignore[arg-type]
            assert Counter(pattern.findall(flat(str(page.text)))) == listed[key], key
        found = sum(each.total() for each in listed.values())
        assert found > 30

    def test_it_says_which_documents_are_hard_to_tell(self, truth: dict[str, pd.DataFrame]) -> None:
        hard = truth["documents"].query("ambiguous != ''")
        assert 0 < len(hard) < len(truth["documents"]) / 3
        assert {"Addendum to Contract", "Certificate", "Statement of Account"} <= documents_desk.GENERIC


class TestDamage:
    @pytest.mark.parametrize("kind", documents_damage.KINDS)
    def test_the_stronger_the_less_is_left_of_the_page(self, kind: str, page: np.ndarray) -> None:
        def harm(strength: float) -> float:
            found = documents_damage.KINDS[kind](page.copy(), 100, strength, np.random.default_rng(0))
            if found.shape != page.shape:
                return float("nan")
            return float(np.abs(found.astype(float) - page).mean())

        if kind == "clean":
            assert harm(1.0) == 0.0
        elif not np.isnan(harm(0.1)):
            assert 0 < harm(0.1) < harm(0.9)

    def test_a_turned_page_is_turned(self, page: np.ndarray) -> None:
        turned = {
            documents_damage.rotation(page, 100, 0.0, np.random.default_rng(seed)).shape for seed in range(9)
        }
        assert turned == {page.shape, page.shape[::-1]}

    def test_a_fax_is_black_and_white_and_its_dots_are_not_square(
        self, page: np.ndarray, tmp_path: Path
    ) -> None:
        for strength, down in ((0.2, 196), (0.9, 98)):
            rng = np.random.default_rng(0)
            (tmp_path / "fax.tif").write_bytes(
                documents_files.scanned([page], "tiff", "fax", strength, 100, rng)
            )
            with Image.open(tmp_path / "fax.tif") as fax:
                assert fax.mode == "1"
                assert tuple(round(float(dots)) for dots in fax.info["dpi"]) == (204, down)
                assert fax.size == pytest.approx((page.shape[1] * 2.04, page.shape[0] * down / 100), abs=2)

    def test_a_photo_has_colours_and_a_table_around_the_paper(self, page: np.ndarray) -> None:
        photo = documents_damage.photo(page, 100, 0.5, np.random.default_rng(0))
        assert photo.shape == (*page.shape, 3)
        assert photo[0].mean() < 140 < photo[page.shape[0] // 2].mean()


class TestMess:
    def test_it_adds_what_a_reader_must_survive_and_says_what_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            Image, "MAX_IMAGE_PIXELS", 100_000_000
        )  # Pillow's guard, which our limits replace
        (tmp_path / "files").mkdir()
        plan = next(plan for plan in documents_desk.planned(WORLD) if plan.form == "pdf")
        (tmp_path / "files" / "1.pdf").write_bytes(documents_desk.make(plan, 1).content)
        listed = [{"file": "files/1.pdf", "label": plan.label, "part": "train"}]
        rows = mess.add(1, tmp_path, tmp_path, listed)
        told = set(pd.read_csv(tmp_path / "mess.csv")["file"])
        assert told - {row["file"] for row in rows} == {"files/unlisted.pdf"}
        missing = {file for file in told if not (tmp_path / file).is_file()}
        assert missing == {"files/missing.pdf"}
        for name in ("encrypted", "truncated", "empty", "png_inside"):
            with pytest.raises(pypdfium2.PdfiumError):
                pypdfium2.PdfDocument(tmp_path / "files" / f"{name}.pdf")
        with pypdfium2.PdfDocument(tmp_path / "files" / "endless.pdf") as endless:
            assert len(endless) == mess.MANY
        with pytest.raises(Image.DecompressionBombError):
            Image.open(tmp_path / "files" / "bomb.png")
        twin = next(row for row in rows if row["file"] == "files/twin.pdf")
        assert twin["part"] == "test"
        assert (tmp_path / "files" / "twin.pdf").read_bytes() == (tmp_path / "files" / "1.pdf").read_bytes()
