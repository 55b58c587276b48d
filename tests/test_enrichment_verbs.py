"""A recipe that declares an enrichment, the verb `enrich`, and scoring: the same list, with fields beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import Work
from misbehaving import serving

BESIDE = """\
kind: rows
prompt: calls
top: 12
suffix: sorted
fields: {town: TOWN, p: P_ORDERS_AGAIN}
output:
  tone:
    kind: choice
    values: {warm: knows us, cool: does not}
    rules: [{when: p > 0.5, value: warm}]
    otherwise: cool
  opening: {kind: text, at_most: 40, otherwise: "Hello {town}, {tone} greetings"}
backoff: 0.02
timeout: 2
"""
DECLARED = {
    "conf/enrichment/calls.yaml": BESIDE,
    "conf/listing/calls.yaml": "file: call_list\ncolumns: {TOWN: profile.town}\n",
    "prompts/calls/system.txt": "You greet.\n{output}",
    "prompts/calls/task.txt": "<data>{data}</data>",
}
RUN = ("recipe=shop", "listing=calls", "enrichment=calls", "report.explain=false")


@pytest.fixture
def shop(work: Work, monkeypatch: pytest.MonkeyPatch) -> Work:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    work.write(DECLARED)  # type: ignore[arg-type]
    return work


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def the_run(shop: Work) -> Path:
    (run,) = [path for path in shop.runs() if path.parent.name == "shop"]
    return run


def same_rows(enriched: Path, ranked: Path) -> list[dict[str, str]]:
    """The first rows of the list, none altered, with four columns more."""
    found, before = read(enriched), read(ranked)
    assert [{name: row[name] for name in before[0]} for row in found] == before[: len(found)]
    assert list(found[0])[-4:] == ["tone", "opening", "enriched_by", "enriched_note"]
    return found


def test_a_run_without_a_key_enriches_by_rules_and_the_verb_does_it_again_with_a_model(
    shop: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shop.run(*RUN)
    assert said.code == 0, said.err
    run = the_run(shop)
    found = same_rows(run / "call_list_sorted.csv", run / "call_list.csv")
    assert len(found) == 12
    assert {row["enriched_by"] for row in found} == {"template"}
    assert found[0]["opening"] == f"Hello {found[0]['TOWN']}, {found[0]['tone']} greetings"
    facts = json.loads((run / "call_list_sorted.json").read_text())
    assert facts["rows_by"] == {"template": 12}

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-9f3k2m5x8q1z")
    with serving(["500"]) as server:
        words = [f"run={run}", f"base_url={server.url}", "top=5"]
        said = shop.run("enrich", *words, "output=again")
        assert said.code == 0, said.err
        assert "5 rows: 5 by openai:gpt-4o-mini" in said.out
        again = same_rows(Path("again/call_list_sorted.csv"), run / "call_list.csv")
        assert {row["enriched_by"] for row in again} == {"openai:gpt-4o-mini"}
        asked = len(server.requests)
        assert shop.run("enrich", *words, "output=third").code == 0
        assert len(server.requests) == asked  # nothing is paid for twice
    assert all(b"sk-test" not in path.read_bytes() for path in shop.folder.rglob("*") if path.is_file())


def test_a_scoring_is_enriched_as_its_run_declares_unless_it_is_told_not_to(shop: Work) -> None:
    assert shop.run(*RUN).code == 0
    run = the_run(shop)
    said = shop.run("score", f"run={run}", "output=scored")
    assert said.code == 0, said.err
    assert "call_list_sorted.csv: 12 rows: 12 by template" in said.out
    same_rows(Path("scored/call_list_sorted.csv"), Path("scored/call_list.csv"))
    assert shop.run("score", f"run={run}", "output=plain", "enrich=false").code == 0
    assert not Path("plain/call_list_sorted.csv").exists()
    said = shop.run("enrich", "run=scored", "enrichment=calls", "output=later", "quiet=true")
    assert said.code == 0, said.err
    assert Path("later/call_list_sorted.csv").read_bytes() == Path("scored/call_list_sorted.csv").read_bytes()


class TestMistakes:
    """They are told before anything is computed, and leave nothing."""

    def test_a_prompt_that_is_not_there(self, shop: Work) -> None:
        assert "did you mean `calls`" in shop.refused(*RUN, "enrichment.prompt=cals")

    def test_a_column_that_the_list_will_not_have(self, shop: Work) -> None:
        shop.write({"conf/enrichment/calls.yaml": BESIDE.replace("TOWN,", "TWON,")})
        message = shop.refused(*RUN)
        assert "no column `TWON`" in message
        assert "did you mean `TOWN`" in message

    def test_a_rule_that_is_no_plain_condition(self, shop: Work) -> None:
        shop.write({"conf/enrichment/calls.yaml": BESIDE.replace("p > 0.5", "p > (SELECT 1)")})
        assert "may not" in shop.refused(*RUN)

    def test_a_value_beside_the_vocabulary_is_told_by_file_and_line(self, shop: Work) -> None:
        shop.write({"conf/enrichment/calls.yaml": BESIDE.replace("value: warm", "value: warn")})
        message = shop.refused(*RUN)
        assert "conf/enrichment/calls.yaml:7" in message
        assert "did you mean `warm`" in message

    def test_no_list_to_enrich(self, shop: Work) -> None:
        assert "listing=latest" in shop.refused("recipe=shop", "enrichment=calls")

    def test_no_key(self, shop: Work) -> None:
        assert "needs a key" in shop.refused(*RUN, "+enrichment.provider=openai")

    def test_of_the_verb(self, shop: Work) -> None:
        assert "which run's list?" in shop.refused("enrich", "top=3")
        assert "there is no folder" in shop.refused("enrich", "run=nowhere")
        (shop.folder / "empty").mkdir()
        assert "declares no enrichment" in shop.refused("enrich", "run=empty")
        assert "no ranked list" in shop.refused("enrich", "run=empty", "enrichment=calls")
        assert "did you mean `calls`" in shop.refused("enrich", "run=empty", "enrichment=cals")
        assert "`enrichment.top`" in shop.refused("enrich", "run=empty", "enrichment=calls", "top=none")


def test_a_service_that_is_not_there_costs_neither_the_run_nor_a_row(
    shop: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-9f3k2m5x8q1z")
    said = shop.run(*RUN, "+enrichment.base_url=http://127.0.0.1:9/v1", "+enrichment.retries=1")
    assert said.code == 0, said.err
    run = the_run(shop)
    found = same_rows(run / "call_list_sorted.csv", run / "call_list.csv")
    assert {row["enriched_by"] for row in found} == {"template"}
    assert all("no connection" in row["enriched_note"] for row in found)
    assert "12 rows are by rules" in (run / "run.log").read_text()
