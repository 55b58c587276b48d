"""From YAML to typed objects: composition with Hydra, provenance, and mistakes explained by file and line.

paths        where declarations lie: the package's own, the team's, `--config-dir`
declaration  one YAML file, read with care
compose      the Hydra plug-in, and what a verb receives
provenance   the file and line that each composed key came from
check        the typed check after composition; place finds where an error lies
jsonschema   JSON Schemas for editors
"""
