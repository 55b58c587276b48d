"""500 rows × 12 kinds of fault × 20 kills: what an enrichment loses, doubles, and pays for.

    python tests/benchmarks/enrichment_faults.py [rows=500] [kills=20] [seed=1]

For each kind of fault a job of its own: the server gives it to a third of the requests, and the process
that enriches is killed (SIGKILL) twenty times, after a random number of requests. Then it may end. The
real client talks to the server over a real connection; only the service is not OpenAI.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import pyarrow as pa  # noqa: E402
from common import machine  # noqa: E402
from misbehaving import LOST, WRONG, at_random, serving  # noqa: E402

from toolkit.actions import enrichment  # noqa: E402
from toolkit.actions.enrichment import asking, budget, ledger, service  # noqa: E402, F401  so that a fork has them
from toolkit.actions.enrichment.ledger import FILE  # noqa: E402
from toolkit.actions.ranked import Ranked  # noqa: E402
from toolkit.config.enrichment import Rows  # noqa: E402

KINDS = (
    "429 with Retry-After", "429", "500", "503", "stall", "reset", "half a body",
    "half JSON", "other vocabulary", "another row", "refusal", "cut off",
)  # fmt: skip
PARALLEL = 8


def serve(kind: str, seed: int, address: Any) -> None:
    with serving(at_random(seed, (kind,), share=0.33, most=2), delay=0.005, patience=3) as server:
        address.send(server.url)
        signal.pause()


def bill(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def node(url: str) -> Rows:
    return Rows.model_validate({
        "kind": "rows", "provider": "openai", "base_url": url, "prompt": "p", "fields": {"name": "name"}, "top": 100_000,
        "output": {"stage": {"kind": "choice", "values": {"a": "", "b": ""}, "otherwise": "b"},
                   "line": {"kind": "text", "at_most": 60, "otherwise": "by rules"}},
        "parallel": PARALLEL, "backoff": 0.02, "timeout": 1.5, "longest_wait": 1, "max_requests": 100_000,
    })  # fmt: skip


def ranked(rows: int) -> Ranked:
    keys = [f"{i:05d}" for i in range(rows)]
    return Ranked(
        pa.table({"rank": range(1, rows + 1), "id": keys, "name": [f"row {key}" for key in keys]}), "id", "t"
    )


def child(url: str, rows: int) -> int:
    """Enrich in a process of its own; its number."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            found = enrichment.enrich(enrichment.ready(node(url)), ranked(rows), lambda *_: None)
            enrichment.write(found, Path.cwd(), "done")
            code = 0
        finally:
            os._exit(code)
    return pid


def one(kind: str, rows: int, kills: int, seed: int) -> dict[str, Any]:
    """A job from start to end, in a folder of its own (the working one)."""
    draw, context = random.Random(f"{seed}/{kind}"), multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(kind, seed, there), daemon=True)
    server.start()
    url, begun, killed = here.recv(), time.perf_counter(), 0
    while killed < kills:
        goal = bill(url)["requests"] + draw.randint(1, 2 * rows // (kills + 4))
        pid = child(url, rows)
        while bill(url)["requests"] < goal and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.002)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            break  # it had ended by itself
        killed += 1
    assert os.waitpid(child(url, rows), 0)[1] == 0
    time.sleep(0.2)
    whole = bill(url)
    assert os.waitpid(child(url, rows), 0)[1] == 0  # once more: nothing is left to ask
    again = bill(url)["requests"] - whole["requests"]
    server.kill()
    with open("done.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    wanted = [f"{i:05d}" for i in range(rows)]
    keys = [line["id"] for line in lines]
    with sqlite3.connect(f"outputs/enrichment/{FILE}") as connection:
        in_flight = connection.execute("SELECT count(*) FROM requests WHERE ended IS NULL").fetchone()[0]
        kept = connection.execute("SELECT count(*) FROM replies").fetchone()[0]
    spoilt = sum(count for fault, count in whole["given"].items() if fault in WRONG + LOST)
    return {
        "kills": killed, "lost": len(set(wanted) - set(keys)), "doubled": len(keys) - len(set(keys)), "in order": keys == wanted,
        "by model": sum(line["enriched_by"] != "template" for line in lines), "requests": whole["requests"],
        "paid": sum(whole["paid"].values()), "kept": kept, "spoilt": spoilt, "in flight": in_flight,
        "over": sum(whole["paid"].values()) - rows - spoilt - in_flight, "asked again": again,
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def _warm() -> None:
    """What the client loads when it is first used, so that every fork has it."""
    import openai

    _ = openai.AsyncOpenAI(api_key="none").chat.completions.with_raw_response


def main(rows: int = 500, kills: int = 20, seed: int = 1) -> None:
    print(machine())
    _warm()
    print(
        f"{rows} rows for each of {len(KINDS)} kinds, {PARALLEL} requests at a time; spoilt: answers that are charged for and"
    )
    print(
        "are wrong or lost by the server's doing; over: paid - rows - spoilt - in flight at kills, must not be positive"
    )
    whole, home = [], Path.cwd()
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for name, text in (("system", "Sort.\n{output}"), ("task", "{data}")):
                path = Path(f"prompts/p/{name}.txt")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            found = one(kind, rows, kills, seed)
            os.chdir(home)
        whole.append(found)
        print(f"{kind:22}", "  ".join(f"{name} {value}" for name, value in found.items()), flush=True)
    sums = {
        name: sum(one[name] for one in whole)
        for name in (
            "kills",
            "lost",
            "doubled",
            "requests",
            "paid",
            "kept",
            "spoilt",
            "in flight",
            "asked again",
        )
    }
    print(f"{'all':22}", "  ".join(f"{name} {value}" for name, value in sums.items()))
    good = (
        all(one["over"] <= 0 and one["in order"] and not one["asked again"] for one in whole)
        and not sums["lost"] + sums["doubled"]
    )
    print("holds" if good else "BROKEN")
    sys.exit(not good)


if __name__ == "__main__":
    os.environ |= {"OPENAI_API_KEY": "none", "NO_PROXY": "127.0.0.1"}
    main(**{key: int(value) for key, _, value in (word.partition("=") for word in sys.argv[1:])})
