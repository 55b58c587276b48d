"""From tables to the design matrix: cohort, measures, features, targets, refusals of leaks and the audit."""
