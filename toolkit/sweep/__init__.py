"""Sweeps: many runs from one command, taken up again after a kill, and set side by side when they are done."""
