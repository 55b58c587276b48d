"""New rows through the same code as training: tables in, scores out."""
