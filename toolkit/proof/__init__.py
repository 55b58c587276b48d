"""Proof of the first promise on the user's own data: the future and the held-out rows are scrambled, and nothing moves."""

from __future__ import annotations

from toolkit.config.schema import Config
from toolkit.proof.proof import Progress, Proof

__all__ = ["Proof", "all_proofs"]


def all_proofs(config: Config, progress: Progress) -> list[Proof]:
    """All experiments; what cannot be proved (undated tables) is said."""
    from toolkit.prepared import declaration, prepare
    from toolkit.proof.future import future
    from toolkit.proof.held_out import held_out
    from toolkit.workplace import workplace

    with workplace(config, progress) as place:
        prepared = prepare(config, place)
        tables = prepared.tables
        proofs = held_out(config, prepared, progress)
        proofs = future(declaration(config), tables, place.engine, config.seed, progress) + proofs
    undated = [name for name, table in tables.loaded.items() if not table.spec.clock]
    return proofs + [
        Proof(f"table `{name}` has no clock: that its rows were known at the cutoff is assumed, not proved", True, True)
        for name in undated
    ]  # fmt: skip
