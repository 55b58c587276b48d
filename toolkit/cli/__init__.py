"""Verbs and the terminal."""
