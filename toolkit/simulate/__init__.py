"""Worlds that stand in for private data, with their truth.

A world is a small configuration and a simulator: `simulate(world, folder)` writes tables of the
shape the field uses, Parquet or messy CSV, and beside them, under `truth/`, what no table shows. Importing this
package registers every world in `toolkit.registry.worlds`; numpy and pyarrow load on first use.
"""

from __future__ import annotations

from toolkit.simulate import chat as chat
from toolkit.simulate import clients as clients
from toolkit.simulate import documents as documents
from toolkit.simulate import donors as donors
from toolkit.simulate import mailings as mailings
from toolkit.simulate import portals as portals
