"""Amazon Textract: pages are sent to the service; credentials come from the environment and are never written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from toolkit.documents.page import Words
from toolkit.errors import ConfigError, DataError

MOST_BYTES = 5_000_000  # of a picture sent in the request itself; larger ones are sent as JPEG
MOST_SIDE = 10_000  # pixels
ATTEMPTS = 6
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
REFUSED = {
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
}


def has_credentials() -> bool:
    """Are credentials in the environment? No file is looked at, and no metadata service asked."""
    return all(os.environ.get(name) for name in CREDENTIALS)


class Textract:
    """DetectDocumentText: https://docs.aws.amazon.com/textract/latest/dg/API_DetectDocumentText.html"""

    name = "textract"

    def __init__(self, region: str | None = None, endpoint: str | None = None) -> None:
        self.region, self.endpoint = region, endpoint

    def chance(self, confidence: np.ndarray) -> np.ndarray:
        return confidence

    @property
    def version(self) -> str:
        return "DetectDocumentText" + (f" {self.endpoint}" if self.endpoint else "")

    @cached_property
    def client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise ConfigError(
                "textract needs boto3",
                where="documents.reading.ocr.engine",
                fix="pip install 'toolkit[textract]'",
            ) from None
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        missing = [name for name in CREDENTIALS if not os.environ.get(name)]
        if missing or not region:
            lacking = missing + ([] if region else ["AWS_REGION (or documents.reading.ocr.region)"])
            raise ConfigError(
                f"textract needs {', '.join(lacking)} in the environment",
                where="documents.reading.ocr.engine",
                fix="set them, or choose ocr.engine=tesseract or rapidocr",
            )
        return boto3.client(
            "textract",
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=os.environ[CREDENTIALS[0]],
            aws_secret_access_key=os.environ[CREDENTIALS[1]],
            aws_session_token=os.environ.get("AWS_SESSION_TOKEN"),
            # `standard` waits longer after each refusal, with jitter, and knows Textract's words for throttling.
            config=Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            ),
        )

    def read(self, picture: np.ndarray, languages: Sequence[str]) -> Words:
        """The service knows the languages itself."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client
        try:
            answer = client.detect_document_text(Document={"Bytes": encoded(picture)})
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            kind = ConfigError if code in REFUSED else DataError
            raise kind(f"textract refused a page: {code or 'error'} (HTTP {status})") from None
        except (BotoCoreError, ValueError) as error:
            raise DataError(
                f"textract could not be asked, or its answer not be read: {type(error).__name__}"
            ) from None
        return parsed(answer)


def encoded(picture: np.ndarray) -> bytes:
    """The picture as PNG, or as JPEG where that is too large for a request; reduced to what the service takes."""
    import cv2

    largest = max(picture.shape)
    if largest > MOST_SIDE:
        scale = MOST_SIDE / largest
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".png", picture)[1].tobytes()
    if len(data) > MOST_BYTES:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return data


def parsed(answer: Mapping[str, Any]) -> Words:
    """The words of an answer: blocks LINE in order, each with its blocks WORD; DataError where it is malformed."""
    try:
        blocks = {block["Id"]: block for block in answer["Blocks"]}
        text, boxes, confidence, line = [], [], [], []
        for number, row in enumerate(block for block in answer["Blocks"] if block["BlockType"] == "LINE"):
            children = [
                blocks[key]
                for relation in row.get("Relationships") or ()
                if relation["Type"] == "CHILD"
                for key in relation["Ids"]
            ]
            for word in children:
                if word["BlockType"] != "WORD" or not word["Text"].strip():
                    continue
                box = word["Geometry"]["BoundingBox"]
                left, top = float(box["Left"]), float(box["Top"])
                text.append(word["Text"].strip())
                boxes.append((left, top, left + float(box["Width"]), top + float(box["Height"])))
                confidence.append(float(word["Confidence"]) / 100)
                line.append(number)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "textract's answer is not in the documented form", why=f"{type(error).__name__}: {error}"
        ) from None
    return Words.of(text, boxes, confidence, line)
