"""Large buffers kept by the process between steps, rather than given back to the system and asked for anew.

glibc maps each buffer above a threshold freshly, and the kernel clears its pages at every training step.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
_MOST = 32 * 1024 * 1024  # the greatest mapping threshold that glibc takes
_KEPT = 1024 * 1024 * 1024


def keep_buffers() -> bool:
    """Raise both thresholds for the rest of the process; False where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP, _MOST)) and bool(libc.mallopt(_TRIM, _KEPT))
    except (OSError, AttributeError):
        return False
