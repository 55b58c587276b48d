"""From tables to the design matrix: cohort, measures, features, targets, and the proofs against leaks."""
