"""Declare tables, targets and features in YAML; get leak-proof data, an honest model, a bundle that scores."""

__version__ = "0.1.0"
