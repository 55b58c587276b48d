"""Configuration of documents: where they lie, what is refused, how pages are cleaned and read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from toolkit.config.node import Node

Engine = Literal["auto", "tesseract", "rapidocr", "textract", "none"]
Share = Annotated[float, Field(ge=0, le=1)]


class Limits(Node):
    """What a document may cost. One that breaks a limit is rejected by name; the others go on."""

    pages: int = Field(50, ge=1, le=100_000, description="pages of a document")
    on_more_pages: Literal["reject", "first"] = Field(
        "reject", description="a document of more pages: reject it, or read the first ones"
    )
    megabytes: float = Field(100, gt=0, description="size of a file")
    megapixels: float = Field(100, gt=0, description="size of a page's picture")
    seconds: float = Field(
        600, gt=0, description="time for a document: all of its pages, on a busy machine too"
    )


class Cleaning(Node):
    """What is done to a page's picture before it is read, in this order."""

    perspective: bool = Field(True, description="take the page out of a photograph, as if seen from above")
    orient: bool = Field(True, description="turn pages that lie on their side or stand on their head")
    deskew: bool = Field(True, description="straighten pages that are a little askew")
    contrast: bool = Field(True, description="even out the light, and make faint ink dark")
    denoise: bool = Field(True, description="take out speckles")
    binarise: bool = Field(False, description="black and white only")
    keep: Literal["cleaned", "raw", "surer"] = Field(
        "surer",
        description="words of the cleaned picture, of the raw one (turned and straightened only), or of the one "
        "that was read with more confidence: the cleaned one is read where the raw one leaves doubt",
    )


class Ocr(Node):
    """What turns pictures of pages into words."""

    engine: Engine = Field(
        "auto",
        description="auto: tesseract where it is installed, else rapidocr; pages in doubt by another one too",
    )
    languages: list[str] = Field(["eng"], min_length=1, description="as tesseract names them")
    dpi: int = Field(200, ge=50, le=600, description="dots per inch at which pages are drawn")
    good: Share = Field(0.8, description="quality and confidence from which a page is not in doubt")
    cloud: bool = Field(
        False,
        description="auto: pages in doubt may leave this machine, for Amazon Textract, where its credentials are set",
    )
    region: str | None = Field(None, description="textract: AWS region; default: the environment's")
    endpoint: str | None = Field(None, description="textract: address of the service, if not AWS's own")


class PageImage(Node):
    """The small picture that is kept of each page."""

    height: int = Field(256, ge=16, le=2048)
    width: int = Field(192, ge=16, le=2048)


class Reading(Node):
    """How documents are read. A page is read once in its life: the result is kept by content and settings."""

    limits: Limits = Limits()
    cleaning: Cleaning = Cleaning()
    ocr: Ocr = Ocr()
    image: PageImage = PageImage()


class Documents(Node):
    """A folder of documents as tables: a row per document, per page and per word."""

    index: str | None = Field(
        None,
        description="CSV in the folder that lists the documents; default: index.csv if it is there, else all "
        "files, the folder that each lies in being its label",
    )
    file: str = Field("file", description="column of the index: the file's place in the folder")
    text: str | None = Field(
        None, description="column of the index that holds the text itself: no file is read"
    )
    reading: Reading = Reading()
