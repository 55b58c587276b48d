"""What of a page's picture is ink, and which pieces of it are letters: the ground of all that looks at a page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 1400  # longest side, in pixels, of the picture that is looked at
FEW_LETTERS = 3


@dataclass(frozen=True)
class Ink:
    """A page's ink, seen at a size at which looking is cheap.

    even: uint8 [height, width], the picture with its background made white; mask: bool [height, width],
    true is ink; scale: its pixels per pixel of the page; letters: int32 [letters, 4] left, top, width and
    height of the pieces that are as large as letters; specks: pieces of one or two pixels; contrast: of ink
    and background, in shares of black and white; noise: standard deviation of the background, likewise.
    """

    even: np.ndarray
    mask: np.ndarray
    scale: float
    letters: np.ndarray
    specks: int
    contrast: float
    noise: float

    @property
    def empty(self) -> bool:
        """A page without any ink, or with a few specks only."""
        return len(self.letters) < FEW_LETTERS and float(self.mask.mean()) < 2e-4

    @property
    def letter_height(self) -> float:
        """Median height of letters in pixels of the page; 0 without letters."""
        return float(np.median(self.letters[:, 3])) / self.scale if len(self.letters) else 0.0


def background(picture: np.ndarray) -> np.ndarray:
    """uint8 [height, width]: the paper beneath the ink. Light, shadows and stains change slowly, letters do not."""
    import cv2

    height, width = picture.shape
    step = max(1, round(max(height, width) / 350))
    small = cv2.resize(picture, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    paper = cv2.medianBlur(cv2.dilate(small, np.ones((7, 7), np.uint8)), 11)
    return cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)


def evened(picture: np.ndarray) -> np.ndarray:
    """uint8 [height, width]: the picture divided by its background, which becomes white."""
    import cv2

    return cv2.divide(picture, np.maximum(background(picture), 1), scale=255)


def noise_of(picture: np.ndarray, where: np.ndarray) -> float:
    """Standard deviation of the noise, in shares of black and white, where bool [height, width] is true.

    Immerkær, Fast Noise Variance Estimation (1996), with the median for the mean: ink left over does not count.
    """
    import cv2

    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    answer = np.abs(cv2.filter2D(picture, cv2.CV_32F, kernel))[where]
    return float(np.median(answer)) / 0.6745 / 6 / 255 if answer.size else 0.0


def look(picture: np.ndarray) -> Ink:
    """Find the ink of a page. picture: uint8 [height, width], 255 is white."""
    import cv2

    height, width = picture.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    even = evened(small)
    noise = noise_of(small, even > 200)
    level, _ = cv2.threshold(even, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    # Of a page of noise alone Otsu halves the noise: ink is darker than paper by what noise does not reach.
    mask = even < min(level, 255 * (1 - max(0.06, 4 * noise)))
    _, _, pieces, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    pieces = pieces[1:]
    tall, wide, area = (
        pieces[:, cv2.CC_STAT_HEIGHT],
        pieces[:, cv2.CC_STAT_WIDTH],
        pieces[:, cv2.CC_STAT_AREA],
    )
    letters = pieces[(tall >= 4) & (wide >= 2) & (tall <= 90) & (wide <= 120) & (area >= 8)][:, :4]
    inked = small[mask]
    paper = float(np.median(small[~mask])) if not mask.all() else 255.0
    contrast = max(0.0, paper - float(np.percentile(inked, 25))) / 255 if inked.size else 0.0
    return Ink(even, mask, scale, letters, int((area <= 2).sum()), contrast, noise)
