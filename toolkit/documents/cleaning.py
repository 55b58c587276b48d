"""Making a page's picture readable: upright, straight, of a fit size, evenly lit, without specks."""

from __future__ import annotations

import numpy as np

from toolkit.documents.ink import Ink, evened, noise_of, paper_of

STEEPEST = 15.0  # degrees; a page that is more askew is not taken for one
FINEST = 0.15  # degrees; turning by less blurs more than it straightens
SMALLEST, LARGEST, FIT = 11, 40, 18  # heights of letters in pixels: what is read badly, or slowly, and well
SPECKS = 0.2  # specks per letter, from which they are not full stops
DARK = 80  # brightness of what is taken for a negative's paper
OUTSIDE = 40  # how much darker, of 255, what lies around a photographed page is
SPECKLED = 0.02  # noise, in shares of black and white, from which a page is smoothed


def positive(picture: np.ndarray) -> np.ndarray:
    """The picture, or its negative where most of it is dark (a microfilm's)."""
    return 255 - picture if np.median(picture[::8, ::8]) < DARK else picture


def unfolded(picture: np.ndarray) -> np.ndarray:
    """The page alone, as if seen from straight above, where the picture is a photograph of it on something darker.

    The page is the largest bright region; it is taken for one only where four sides hold it closely, at angles
    near right ones, it is a third of the picture at least, and much darker right outside.
    """
    import cv2

    height, width = picture.shape
    scale = min(1.0, 500 / max(height, width))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    soft = cv2.morphologyEx(cv2.GaussianBlur(small, (5, 5), 0), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    _, bright = cv2.threshold(soft, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return picture
    hull = cv2.convexHull(max(outlines, key=cv2.contourArea))
    corners = cv2.approxPolyDP(hull, 0.02 * cv2.arcLength(hull, True), True).reshape(-1, 2).astype(np.float32)
    area = cv2.contourArea(corners) if len(corners) == 4 else 0.0
    if not 0.33 * small.size < area < 0.96 * small.size or cv2.contourArea(hull) < 0.95 * area:
        return picture
    within = np.zeros_like(small)
    cv2.fillConvexPoly(within, corners.astype(np.int32), 255)
    # At its edge the light falls at once; where a shadow ends it falls slowly.
    band = np.ones((9, 9), np.uint8)
    inside = soft[(within > 0) & (cv2.erode(within, band) == 0)]
    outside = soft[(within == 0) & (cv2.dilate(within, band) > 0)]
    if not outside.size or float(np.median(inside)) - float(np.percentile(outside, 80)) < OUTSIDE:
        return picture
    # Clockwise from the corner nearest the picture's own upper left one.
    middle = corners.mean(axis=0)
    around = np.argsort(np.arctan2(*(corners - middle).T[::-1]))
    corners = np.roll(corners[around], -int(np.argmin(corners[around].sum(axis=1))), axis=0)
    sides = np.roll(corners, -1, axis=0) - corners
    long = np.linalg.norm(sides, axis=1)
    cosines = np.abs((sides * np.roll(sides, -1, axis=0)).sum(axis=1)) / (long * np.roll(long, -1))
    if cosines.max() > 0.5:
        return picture
    wide, tall = (int(max(long[side], long[side + 2]) / scale) for side in (0, 1))
    flat = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners / np.float32(scale), flat)
    return cv2.warpPerspective(picture, matrix, (wide, tall), flags=cv2.INTER_CUBIC, borderValue=255)


def turned(picture: np.ndarray, clockwise: int) -> np.ndarray:
    """The picture turned clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(picture, -clockwise // 90))


def straightened(picture: np.ndarray, clockwise: float) -> np.ndarray:
    """The picture turned clockwise by a few degrees, on a canvas that holds all of it; corners as bright as paper."""
    import cv2

    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -clockwise, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide, tall = int(height * sine + width * cosine + 0.5), int(height * cosine + width * sine + 0.5)
    matrix[:, 2] += ((wide - width) / 2, (tall - height) / 2)
    paper = int(np.median(picture[::8, ::8]))
    return cv2.warpAffine(
        picture,
        matrix,
        (wide, tall),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=paper,
    )


def lines_of(ink: Ink) -> tuple[bool, float]:
    """How the lines of text run: down the page instead of across? and by how many degrees to turn them clockwise.

    Across its lines a page's ink comes in bands. Ink is projected at each angle, and the sum of squares of the
    differences between neighbouring rows is greatest where the rows are lines (Postl, 1986).
    """
    rng = np.random.default_rng(0)
    letters = np.zeros_like(ink.mask)
    for left, top, width, height in ink.letters:
        letters[top : top + height, left : left + width] = True
    y, x = np.nonzero(ink.mask & letters)
    if len(y) < 50:
        return False, 0.0
    if len(y) > 20_000:
        kept = rng.choice(len(y), 20_000, replace=False)
        y, x = y[kept], x[kept]
    y, x = y - y.mean(), x - x.mean()
    coarse = np.arange(-STEEPEST, STEEPEST + 0.25, 0.5)
    across, down = _bands(x, y, coarse, 2), _bands(-y, x, coarse, 2)
    sideways = bool(down.max() > across.max())
    if sideways:
        x, y = -y, x
    angle = coarse[int(np.argmax(down if sideways else across))]
    fine = angle + np.arange(-0.6, 0.61, 0.05)
    found = float(fine[int(np.argmax(_bands(x, y, fine, 1)))])
    return sideways, -found


def _bands(x: np.ndarray, y: np.ndarray, angles: np.ndarray, bin_size: int) -> np.ndarray:
    """[angles]: how banded the points are along lines at each angle, in degrees."""
    energy = np.empty(len(angles))
    reach = int(np.hypot(np.abs(x).max(), np.abs(y).max())) + 2
    for index, angle in enumerate(np.deg2rad(angles)):
        rows = ((y * np.cos(angle) - x * np.sin(angle) + reach) / bin_size).astype(np.int64)
        profile = np.bincount(rows, minlength=2 * reach // bin_size + 1).astype(np.float64)
        energy[index] = np.square(np.diff(profile)).sum()
    return energy


def head_up(letters: np.ndarray) -> float:
    """From -1 (the text stands on its head) to 1 (upright), near 0 where it cannot be told.

    letters: [letters, 4] left, top, width, height. Neighbours in a line of Latin, Greek or Cyrillic text share
    their baseline more often than the height of their tops: there are more ascenders and capitals than
    descenders (Caprari, 2000).
    """
    from scipy.spatial import cKDTree

    if len(letters) < 20:
        return 0.0
    left, top, width, height = letters.T.astype(np.float64)
    tree = cKDTree(np.stack([left + width / 2, top + height / 2], axis=1))
    _, near = tree.query(np.stack([left + width * 1.5, top + height / 2], axis=1), k=2)
    mine = np.repeat(np.arange(len(letters)), 2)
    other = near.ravel()
    gap = left[other] - left[mine] - width[mine]
    tall = np.maximum(height[mine], height[other])
    beside = (mine != other) & (np.abs(gap) < tall) & (np.abs(top[mine] - top[other]) < tall)
    mine, other, tall = mine[beside], other[beside], tall[beside]
    tops = np.abs(top[mine] - top[other]) > 0.17 * tall
    bottoms = np.abs(top[mine] + height[mine] - top[other] - height[other]) > 0.17 * tall
    upright, over = int((tops & ~bottoms).sum()), int((bottoms & ~tops).sum())
    return (upright - over) / (upright + over) if upright + over >= 20 else 0.0


def fitted(picture: np.ndarray, letter_height: float) -> np.ndarray:
    """The picture enlarged, or reduced, to a height of letters that engines read well; as it is within bounds."""
    import cv2

    if not letter_height or SMALLEST <= letter_height <= LARGEST:
        return picture
    scale = float(np.clip(FIT / letter_height, 0.25, 3.0))
    return cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    )


def contrasted(picture: np.ndarray) -> np.ndarray:
    """Even light, white paper, dark ink: stains and shadows go, faint ink is drawn out."""
    import cv2

    even = evened(picture)
    level, _ = cv2.threshold(even, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    paper, spread = paper_of(even)
    white = paper - min(2 * spread, 40.0)
    inked = even[even <= min(level, white - 15)]
    dark = float(np.percentile(inked, 20)) if inked.size else 0.0
    table = np.clip((np.arange(256) - dark) * 255 / max(white - dark, 1), 0, 255).astype(np.uint8)
    return cv2.LUT(even, table)


def denoised(picture: np.ndarray, letter_height: float) -> np.ndarray:
    """Without noise, by a median over 3 × 3 pixels, and without specks smaller than a full stop; if there are any."""
    import cv2

    if noise_of(picture) > SPECKLED:
        picture = cv2.medianBlur(picture, 3)
    dark = (picture < 128).astype(np.uint8)
    _, labels, pieces, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    size = np.maximum(pieces[:, cv2.CC_STAT_HEIGHT], pieces[:, cv2.CC_STAT_WIDTH])
    speck = size <= max(1.0, 0.15 * letter_height)
    if speck.sum() < SPECKS * (size > 0.5 * letter_height).sum():
        return picture
    return np.where(speck[labels] & (dark > 0), np.uint8(255), picture)


def binarised(picture: np.ndarray, letter_height: float) -> np.ndarray:
    """Black and white, by a threshold of its own for each place (Sauvola and Pietikäinen, 2000; k = 0.2)."""
    import cv2

    window = max(15, int(letter_height * 2.5) | 1)
    values = picture.astype(np.float32)
    mean = cv2.boxFilter(values, -1, (window, window))
    square = cv2.boxFilter(values * values, -1, (window, window))
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.where(values > mean * (1 + 0.2 * (spread / 128 - 1)), 255, 0).astype(np.uint8)
