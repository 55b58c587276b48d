"""How well a page's picture can be read, before it is read."""

from __future__ import annotations

import numpy as np

from toolkit.documents.ink import Ink


def quality(picture: np.ndarray, ink: Ink) -> float:
    """Between 0 and 1: sharp × contrasty × noiseless × fine, each between 0 and 1. NaN for a page without ink.

    Each is a ramp from 0 at what cannot be read to 1 at what is read as well as a clean page:
    sharp: variance of the Laplacian at ink, less that of the paper (noise), in units of the squared contrast,
    of the page reduced to letters 10 pixels high, so that large type may be softer (0 … 0.28);
    contrasty: of ink and paper, in shares of black and white (0.05 … 0.2); noiseless: contrast in units of the
    noise's standard deviation (1 … 8), times specks per letter (0.7 … 0.2); fine: median height of letters in
    pixels (3 … 8).
    """
    import cv2

    if ink.empty or not len(ink.letters):
        return float("nan")
    scale = min(1.0, 10 / ink.letter_height)
    size = [max(1, round(side * scale)) for side in picture.shape[::-1]]
    seen = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(ink.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8)).astype(bool)
    far = ~cv2.dilate(mask, np.ones((7, 7), np.uint8)).astype(bool)
    edges = np.square(cv2.Laplacian(seen, cv2.CV_32F) / 255)
    paper = float(edges[far].mean()) if far.any() else 0.0
    contrast = max(ink.contrast, 1e-3)
    return (
        ramp((float(edges[near].mean()) - paper) / contrast**2, 0.0, 0.28)
        * ramp(ink.contrast, 0.05, 0.2)
        * ramp(contrast / max(ink.noise, 1e-3), 1.0, 8.0)
        * ramp(ink.specks / len(ink.letters), 0.7, 0.2)
        * ramp(ink.letter_height, 3.0, 8.0)
    )


def ramp(value: float, bad: float, good: float) -> float:
    """0 at bad and beyond, 1 at good and beyond, straight between them."""
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))
