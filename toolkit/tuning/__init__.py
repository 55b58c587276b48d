"""Choosing a model's settings by trials on training and validation rows."""
