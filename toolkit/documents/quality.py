"""How well a page's picture can be read, before it is read."""

from __future__ import annotations

import numpy as np

from toolkit.documents.ink import Ink


def quality(picture: np.ndarray, ink: Ink) -> float:
    """Between 0 and 1: sharp × contrasty × noiseless × fine, each between 0 and 1. NaN for a page without ink.

    Each is a ramp from 0 at what cannot be read to 1 at what reads as well as a clean page:
    sharp: variance of the Laplacian at ink, in units of the squared contrast, less what noise adds (20 σ²);
    contrasty: of ink and paper; noiseless: contrast in units of the noise, and specks per letter;
    fine: median height of letters in pixels.
    """
    import cv2

    if ink.empty:
        return float("nan")
    scale = min(1.0, 2000 / max(picture.shape))
    seen = (
        picture
        if scale == 1.0
        else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    )
    mask = cv2.resize(ink.mask.astype(np.uint8), seen.shape[::-1], interpolation=cv2.INTER_NEAREST)
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8)).astype(bool)
    edges = cv2.Laplacian(seen, cv2.CV_32F)[near] / 255
    contrast = max(ink.contrast, 1e-3)
    sharp = (float(np.square(edges).mean()) - 20 * ink.noise**2) / contrast**2
    return (
        ramp(sharp, 0.0, 0.4)
        * ramp(ink.contrast, 0.0, 0.3)
        * ramp(contrast / max(ink.noise, 1e-3), 2.0, 12.0)
        * ramp(ink.specks / max(len(ink.letters), 1), 3.0, 0.5)
        * ramp(ink.letter_height, 3.0, 10.0)
    )


def ramp(value: float, bad: float, good: float) -> float:
    """0 at bad and beyond, 1 at good and beyond, straight between them."""
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))
