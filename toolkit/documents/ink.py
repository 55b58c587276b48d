"""What of a page's picture is ink, and which pieces of it are letters: the ground of all that looks at a page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 1400  # longest side, in pixels, of the picture that is looked at
FEW_LETTERS, LEAST_DRAWN = 3, 2e-4  # below both a page is empty
NOISY = 12  # standard deviation of the paper, of 255, from which letters are looked for in a smoothed picture


@dataclass(frozen=True)
class Ink:
    """A page's ink, seen at a size at which looking is cheap.

    even: uint8 [height, width], the picture with its background made white; mask: bool [height, width],
    true is ink; scale: its pixels per pixel of the page; letters: int32 [letters, 4] left, top, width and
    height of the pieces that are as large as letters; specks: pieces smaller than a full stop of them; drawn: share of
    the page that pieces cover that are neither specks nor cut by its edge (a scanner's rim); contrast: of ink
    and paper, in shares of black and white; noise: its standard deviation, likewise.
    """

    even: np.ndarray
    mask: np.ndarray
    scale: float
    letters: np.ndarray
    specks: int
    drawn: float
    contrast: float
    noise: float

    @property
    def empty(self) -> bool:
        """A page without any ink, or with a few specks only."""
        return len(self.letters) < FEW_LETTERS and self.drawn < LEAST_DRAWN

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


def noise_of(picture: np.ndarray) -> float:
    """Standard deviation of a picture's noise, in shares of black and white.

    Immerkær, Fast Noise Variance Estimation (1996), with the median for the mean: of a page, most is paper.
    """
    import cv2

    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    answer = np.abs(cv2.filter2D(picture, cv2.CV_32F, kernel)[1::3, 1::3])
    return float(np.median(answer)) / 0.6745 / 6 / 255


def paper_of(even: np.ndarray) -> tuple[float, float]:
    """Brightness of the paper, and standard deviation of what is darker than it, of an evened picture."""
    # Most of a page is paper, so the lower quartile of all lies 0.6745 deviations below the median.
    quartile, paper = np.percentile(even[::2, ::2], (25, 50))
    return float(paper), float(paper - quartile) / 0.6745


def look(picture: np.ndarray) -> Ink:
    """Find the ink of a page. picture: uint8 [height, width], 255 is white."""
    import cv2

    height, width = picture.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    even = evened(small)
    if paper_of(even)[1] > NOISY:
        even = evened(cv2.GaussianBlur(small, (0, 0), 1.3 * scale))
    level, _ = cv2.threshold(even, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    # Of a page of noise alone Otsu halves the noise: ink is darker than paper by what noise does not reach.
    paper, spread = paper_of(even)
    # A picture of black and white alone has its threshold at 0: black is not above it.
    mask = even <= min(level, paper - max(15.0, 4.5 * spread))
    _, _, pieces, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    pieces = pieces[1:]
    tall, wide, area = (
        pieces[:, cv2.CC_STAT_HEIGHT],
        pieces[:, cv2.CC_STAT_WIDTH],
        pieces[:, cv2.CC_STAT_AREA],
    )
    letters = pieces[(tall >= 4) & (wide >= 2) & (tall <= 90) & (wide <= 120) & (area >= 8)][:, :4]
    stop = max(2.0, 0.2 * float(np.median(letters[:, 3]))) if len(letters) else 2.0
    specks = int(((tall <= stop) & (wide <= stop)).sum())
    left, top = pieces[:, cv2.CC_STAT_LEFT], pieces[:, cv2.CC_STAT_TOP]
    inside = (left > 0) & (top > 0) & (left + wide < size[0]) & (top + tall < size[1])
    drawn = float(area[inside & (area >= 8)].sum()) / mask.size
    inked = small[mask]
    lit = float(np.median(small[::2, ::2]))
    contrast = max(0.0, lit - float(np.percentile(inked, 25))) / 255 if inked.size else 0.0
    return Ink(even, mask, scale, letters, specks, drawn, contrast, noise_of(picture))
