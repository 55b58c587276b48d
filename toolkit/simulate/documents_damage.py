"""What happens to a page on its way through scanners, fax machines and cameras.

Each kind is a function of the page, grey [height, width] with 255 white, of its dots per inch and of a strength between
0 and 1, between whose ranges its parameters lie. Lengths are said at 200 dpi and grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Array = np.ndarray
FAX_DPI = 204  # across; down: 98 (standard) or 196 (fine), ITU-T T.4


def clean(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """As it comes from a good scanner."""
    return page


def light(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """Up to 0.8 degrees askew, soft by 0.3 to 0.6 pixels, noise of 2 to 7 grey levels."""
    page = _turned(page, rng.choice((-1, 1)) * strength * 0.8)
    return _noisy(_soft(page, _between(0.3, 0.6, strength) * dpi / 200), _between(2, 7, strength), rng)


def rotation(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """By 90, 180 or 270 degrees; otherwise light."""
    return light(np.ascontiguousarray(np.rot90(page, int(rng.integers(1, 4)))), dpi, strength, rng)


def skew(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """1.5 to 8 degrees askew, noise of 3 grey levels."""
    return _noisy(_turned(page, rng.choice((-1, 1)) * _between(1.5, 8, strength)), 3, rng)


def blur(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """Out of focus by 1 to 2.2 pixels, or moved by 4 to 8."""
    import cv2

    if rng.random() < 0.6:
        page = _soft(page, _between(1.0, 2.2, strength) * dpi / 200)
    else:
        length = max(2, round(_between(4, 8, strength) * dpi / 200))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        page = cv2.filter2D(page, -1, kernel if rng.random() < 0.5 else kernel.T)
    return _noisy(page, 3, rng)


def noise(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """Noise of 15 to 45 grey levels, and 0.2 to 1.5 % of the dots black or white."""
    page = _noisy(page, _between(15, 45, strength), rng)
    spoilt = rng.integers(0, page.size, int(page.size * _between(0.002, 0.015, strength)))
    page.reshape(-1)[spoilt] = np.where(rng.random(len(spoilt)) < 0.7, 0, 255)
    return page


def stains(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """Two to seven rings, blotches and folds that keep 85 to 45 % of the light, a dark edge, punched holes."""
    import cv2

    height, width = page.shape
    small = 4  # stains are soft: drawn small, then enlarged
    shade = np.ones((height // small, width // small), np.float32)
    rows, columns = shade.shape
    keep = _between(0.85, 0.45, strength)
    for _ in range(round(_between(2, 7, strength))):
        centre = (int(rng.integers(0, columns)), int(rng.integers(0, rows)))
        layer = np.zeros_like(shade)
        form = rng.integers(0, 3)
        radius = int(rng.uniform(0.05, 0.14) * columns)
        if form == 0:  # a cup
            cv2.circle(layer, centre, radius, 1.0, max(2, radius // 7))
            layer += 0.25 * cv2.circle(np.zeros_like(shade), centre, radius, 1.0, -1)
        elif form == 1:  # a blotch
            axes = (radius, int(radius * rng.uniform(0.4, 1.0)))
            cv2.ellipse(layer, centre, axes, float(rng.uniform(0, 180)), 0, 360, 0.8, -1)
        elif rng.random() < 0.5:  # a fold
            cv2.line(layer, (0, centre[1]), (columns, centre[1]), 0.8, 1)
        else:
            cv2.line(layer, (centre[0], 0), (centre[0], rows), 0.8, 1)
        layer = cv2.GaussianBlur(layer, (0, 0), 1.5)
        shade *= 1 - (1 - keep) * np.clip(layer, 0, 1)
    edge = np.linspace(0, 1, columns, dtype=np.float32)
    shade *= 1 - _between(0.1, 0.5, strength) * np.exp(-(edge if rng.random() < 0.5 else edge[::-1]) * 30)
    whole = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)
    page = _noisy((page * whole).astype(np.uint8), 4, rng)
    for share in (0.35, 0.65) if rng.random() < 0.4 else ():
        cv2.circle(page, (int(0.035 * width), int(share * height)), int(0.012 * width), 25, -1)
    return page


def low_contrast(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """Ink that keeps 45 to 12 % of its darkness, on paper of 235 to 170 that is unevenly lit by 10 %."""
    ink, paper = _between(0.45, 0.12, strength), _between(235, 170, rng.random())
    light_ = np.linspace(1, 1 - 0.1 * rng.random(), page.shape[1], dtype=np.float32)
    return _noisy(((paper - ink * (255 - page.astype(np.float32))) * light_).astype(np.uint8), 3, rng)


def fax(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """Black and white, 204 dots per inch across and 196 (98 from a strength of 0.6 on) down, with specks and streaks.

    The dots are not square: `files` says so in the picture's resolution.
    """
    import cv2

    down = 98 if strength > 0.6 else 196
    height, width = page.shape
    page = cv2.resize(page, (width * FAX_DPI // dpi, height * down // dpi), interpolation=cv2.INTER_AREA)
    page = np.where(_noisy(page, _between(5, 30, strength), rng) < 165, 0, 255).astype(np.uint8)
    for row in rng.integers(0, len(page), round(_between(0, 8, strength))):
        page[row] = 255 * (rng.random() < 0.5)
    return page


def photo(page: Array, dpi: int, strength: float, rng: np.random.Generator) -> Array:
    """By hand, on a table: corners displaced by up to 2 to 8 %, light uneven by 15 to 50 %, a shadow. [height, width, 3] RGB."""
    import cv2

    height, width = page.shape
    rim, shift = 0.05, _between(0.02, 0.08, strength)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inside = np.array([[rim, rim], [1 - rim, rim], [1 - rim, 1 - rim], [rim, 1 - rim]])
    aims = ((inside + rng.uniform(-shift, shift, (4, 2))) * (width, height)).astype(np.float32)
    warp = cv2.getPerspectiveTransform(corners, aims)
    table = int(rng.integers(40, 130))
    page = cv2.warpPerspective(page, warp, (width, height), borderValue=(table,), flags=cv2.INTER_AREA)
    small = (max(2, width // 16), max(2, height // 16))
    across, down = np.meshgrid(np.linspace(-1, 1, small[0]), np.linspace(-1, 1, small[1]))
    angle, uneven = rng.uniform(0, 2 * np.pi), _between(0.15, 0.5, strength)
    lit = 1 - uneven * (0.5 + 0.5 * (across * np.cos(angle) + down * np.sin(angle)))
    edge, turn = rng.uniform(-0.7, 0.7), rng.uniform(0, 2 * np.pi)
    shadow = 1 / (1 + np.exp(-(across * np.cos(turn) + down * np.sin(turn) - edge) * rng.uniform(6, 30)))
    lit = (lit * (1 - _between(0.1, 0.4, strength) * shadow)).astype(np.float32)
    whole = cv2.resize(lit, (width, height), interpolation=cv2.INTER_LINEAR)
    page = _noisy(_soft((page * whole).astype(np.uint8), _between(0.4, 1.1, strength) * dpi / 200), 5, rng)
    warmth = rng.uniform(0.75, 0.97)
    return np.stack(
        [page, (page * (0.5 + warmth / 2)).astype(np.uint8), (page * warmth).astype(np.uint8)], axis=-1
    )


Damage = Callable[[Array, int, float, np.random.Generator], Array]
KINDS: Mapping[str, Damage] = {
    each.__name__: each
    for each in (clean, light, rotation, skew, blur, noise, stains, low_contrast, fax, photo)
}


def _between(low: float, high: float, strength: float) -> float:
    return low + (high - low) * strength


def _turned(page: Array, degrees: float) -> Array:
    import cv2

    height, width = page.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(page, turn, (width, height), flags=cv2.INTER_LINEAR, borderValue=(255,))


def _soft(page: Array, sigma: float) -> Array:
    import cv2

    return cv2.GaussianBlur(page, (0, 0), sigma)


def _noisy(page: Array, sigma: float, rng: np.random.Generator) -> Array:
    """With Gaussian noise: a square of it, repeated."""
    import cv2

    side = 512
    grains = (rng.standard_normal((side, side), np.float32) * sigma).round().astype(np.int16)
    height, width = page.shape
    tiled = np.tile(grains, (height // side + 1, width // side + 1))[:height, :width]
    return cv2.add(page, tiled, dtype=cv2.CV_8U)
