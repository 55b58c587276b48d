"""A playbook: declared rules say what to do about the rows of a list, and nothing that was not declared is said.

The shop of `conftest`, whose clients order again the younger they are, with a desk for each client and towns that
mean harm. One run is made; rules are then played on its list, as a run and scoring do it.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import SHOP, Work, shop_files, write_files
from pydantic import ValidationError

from toolkit import bundling
from toolkit.actions import playbook, ranked
from toolkit.actions.played import Action, Played, assigned, write
from toolkit.cli.main import main
from toolkit.config.deadline import due
from toolkit.config.playbook import Rules
from toolkit.config.schema import Config, Engine
from toolkit.config.tables import FolderSource
from toolkit.data.cache import Cache
from toolkit.errors import UserError
from toolkit.prepared import prepare
from toolkit.scoring import batch
from toolkit.workplace import workplace

LISTING = "file: calls\nsize: 1000\ntiers: {low: 0, medium: 0.15, high: 0.3, critical: 0.45}\n"
PLAYBOOK = """\
kind: rules
reasons: 2
most: 2
columns: {town: town, orders: history.count_6mo, age: age}
missing: {town: your town}
capacity: {Anna: 5}
rules:
  young:
    when: {reason: [profile.age], where: age < 40}
    action: Call
    owner: {column: desk, otherwise: Bob}
    deadline: 2 business days
    message: "{key} of {town}, {age}: {orders} orders; {reason}. {score}, {tier}, until {deadline}"
    priority: 1
  lately:
    when: {tier: [high, critical], where: "history.count_6mo >= 1 AND coalesce(town, '') <> 'Rome'"}
    action: Write
    owner: Anna
    deadline: 1 week
  never: {when: {where: age > 200}, action: Wait}
otherwise:
  medium: {action: Leave alone}
"""
TOWNS = ["Rome", "Zürich 🏔 東京", "=HYPERLINK(1)", "", "{key} {score}", "a\u202eb\u200bc", "@SUM(A1)", "NA"]
DATASET = SHOP["conf/dataset/shop.yaml"].replace(  # type: ignore[union-attr]
    "{id: text, town: text, age: integer}",
    "{id: text, town: text, age: integer, desk: text, secret: text}",
)
FILES = SHOP | {
    "conf/dataset/shop.yaml": DATASET,
    "conf/features/profile.yaml": "kind: attributes\ntable: clients\ncolumns: [town, age]\n",
    "conf/cohort/yearly.yaml": "cutoffs: {every: 3 months}\n",
    "conf/listing/calls.yaml": LISTING,
    "conf/playbook/plays.yaml": PLAYBOOK,
}
WORDS = ["recipe=shop", "listing=calls", "playbook=plays", "engine.threads=1"]
HEADER = ["rank", "id", "snapshot", "tier", "P_ORDERS_AGAIN", "action", "owner", "deadline", "message", "why", "rule",
          "priority", "not_assigned"]  # fmt: skip


def shop() -> dict[str, str]:
    """The shop's files; a client's town is one of `TOWNS`, every third has no desk, and each has a secret."""
    made = {name: str(content) for name, content in shop_files().items()}
    lines = ["id,town,age,desk,secret"]
    for number, line in enumerate(made["clients.csv"].splitlines()[1:]):
        key, _, age = line.split(",")
        desk = ["Dora", "", "Éva"][number % 3]
        lines.append(f'{key},"{TOWNS[number % len(TOWNS)]}",{age},{desk},secret-{key}')
    return {f"data/{name}": text for name, text in (made | {"clients.csv": "\n".join(lines) + "\n"}).items()}


def texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plays")
    write_files(folder, {**FILES, **shop()})
    with contextlib.chdir(folder):
        assert main([*WORDS, "hydra.run.dir=run"]) == 0
        assert main(["score", "run=run", "output=scores"]) == 0
    return folder


Play = Callable[[str], Played]


@pytest.fixture(scope="module")
def play(finished: Path) -> Play:
    """Rules, as YAML has them, played on the run's list."""
    scorer = bundling.read(finished / "run/bundle")
    cache, source = (
        Cache(finished / "outputs/.cache"),
        FolderSource(kind="folder", path=str(finished / "data")),
    )
    scored = batch.score(scorer, source, None, cache, Engine(threads=1))
    standing = ranked.stand(scorer, scored, scorer.heads[0])
    listed = ranked.list_of(scorer, scored, standing)

    def played(declared: str) -> Played:
        node = Rules.model_validate({"kind": "rules", **yaml.safe_load(declared)})
        return playbook.play(replace(scorer, playbook=node), scored, standing, listed)

    return played


class TestTheFile:
    def test_has_a_line_for_each_action_in_the_order_of_the_list(self, finished: Path) -> None:
        frame = texts(finished / "run/calls.actions.csv")
        assert list(frame) == HEADER
        assert frame["rank"].astype(int).is_monotonic_increasing
        listed = texts(finished / "run/calls.csv").set_index("rank")
        for column in ("id", "snapshot", "tier", "P_ORDERS_AGAIN"):
            assert frame[column].tolist() == listed.loc[frame["rank"], column].tolist()
        several = frame.groupby("rank").priority.agg(list)
        assert several.map(len).max() == 2
        assert all(one == sorted(one) for one in several)

    def test_follows_the_rules(self, finished: Path) -> None:
        """Recomputed by hand from the list and the table."""
        frame, listed = texts(finished / "run/calls.actions.csv"), texts(finished / "run/calls.csv")
        clients = pd.read_csv(finished / "data/clients.csv", dtype=str, keep_default_na=False).set_index("id")
        orders = pd.read_csv(finished / "data/orders.csv", dtype=str)
        count = orders[(orders.day >= "2022-05-01") & (orders.day < "2022-11-01")].client.value_counts()
        done = frame.groupby("id").rule.agg(set)
        assert set(listed.snapshot) == {"2022-11-01"}
        for row in listed.itertuples():
            mine, rules = clients.loc[row.id], done.get(row.id, set())
            if "young" in rules:
                assert int(mine.age) < 40
                assert "age of clients" in " ".join([row.reason_1, row.reason_2])
            lately = row.tier in ("high", "critical") and count.get(row.id, 0) >= 1 and mine.town != "Rome"
            assert ("lately" in rules) == lately
            assert ("otherwise.medium" in rules) == (row.tier == "medium" and not rules & {"young", "lately"})
        assert {"young", "lately", "otherwise.medium"} <= set(frame.rule)

    def test_is_the_same_when_the_bundle_scores_the_same_tables(self, finished: Path) -> None:
        first, second = (finished / place / "calls.actions.csv" for place in ("run", "scores"))
        assert first.read_bytes() == second.read_bytes()

    def test_and_the_bundle_holds_the_rules_as_plain_json(self, finished: Path) -> None:
        kept = json.loads((finished / "run/bundle/recipe.json").read_text())["playbook"]
        assert list(kept["rules"]) == ["young", "lately", "never"]
        assert Rules.model_validate(kept) == Rules.model_validate(yaml.safe_load(PLAYBOOK))

    def test_owners_are_named_or_read_from_a_column(self, finished: Path) -> None:
        frame = texts(finished / "run/calls.actions.csv")
        desks = (
            pd.read_csv(finished / "data/clients.csv", dtype=str, keep_default_na=False).set_index("id").desk
        )
        young = frame[frame.rule == "young"]
        assert young.owner.tolist() == [desks[key] or "Bob" for key in young.id]
        assert {"Dora", "Éva", "Bob"} == set(young.owner)

    def test_cells_that_a_spreadsheet_would_run_are_defused(self, play: Play, tmp_path: Path) -> None:
        found = play(
            "{columns: {town: town}, missing: {town: nowhere}, rules: {greet: {action: =1+1, message: '{town}!'}}}"
        )
        write(found, tmp_path, "calls")
        frame = texts(tmp_path / "calls.actions.csv")
        assert {"'=HYPERLINK(1)!", "'@SUM(A1)!", "Zürich 🏔 東京!", "NA!", "nowhere!"} <= set(frame.message)
        assert set(frame.action) == {"'=1+1"}
        assert not frame.message.str.startswith(("=", "@", "+", "-")).any()


class TestWhatIsSaid:
    def test_the_screen_counts_actions_owners_and_what_became_of_the_others(
        self, work: Work, finished: Path
    ) -> None:
        summary = (finished / "run/summary.md").read_text()
        frame = texts(finished / "run/calls.actions.csv")
        acted, each = frame.id.nunique(), Counter(frame.action)
        assert f"calls.actions.csv: {len(frame)} actions for {acted} of 240 rows: " in summary
        assert all(f"{action} {many}" in summary for action, many in each.items())
        assert f"no action: {240 - acted} of the 240 rows of the list" in summary
        assert "rules that hold for no row: `never`" in summary
        lost = (frame.not_assigned == "beyond the 5 of Anna").sum()
        assert lost == each["Write"] - 5
        assert f"not assigned: {lost} (beyond the 5 of Anna)" in summary

    def test_the_page_shows_actions_beside_the_reasons_and_counts_them(self, finished: Path) -> None:
        page = (finished / "run/report.html").read_text()
        section = page[page.index('id="t1-next"') :]
        section = section[: section.index("</section>")]
        frame = texts(finished / "run/calls.actions.csv")
        assert (
            section.count("<bdi>Call</bdi>")
            == (frame.action[frame["rank"].astype(int) <= 20] == "Call").sum()
        )
        assert "by 2022-11-03" in section
        assert "<caption>By owner, all of the list</caption>" in section
        assert "rules that hold for no row: <code>never</code>" in section

    def test_the_plan_names_the_rules(self, work: Work) -> None:
        work.write({**FILES, **shop()})
        said = work.run("plan", *WORDS)
        assert said.code == 0, said.err
        assert "calls.actions.csv: at most 2 for each row of the list of orders_again" in said.out
        assert "young: Call, by column desk, within 2 business days" in said.out


class TestRules:
    def test_look_at_what_speaks_for_a_row_and_not_at_what_speaks_against_it(self, play: Play) -> None:
        found = play(
            "{most: 2, rules: {up: {when: {reason: [profile.age]}, action: up}, down: {when: {against: [profile.age]}, action: down}}}"
        )
        ways = {action.key: action.rule for action in found.actions}
        assert set(ways.values()) == {"up", "down"}
        assert len(ways) == len(found.actions)  # none is both
        assert all("against: " in a.why for a in found.actions if a.rule == "down")
        assert not any("against: " in a.why for a in found.actions if a.rule == "up")

    def test_of_one_story_stand_in_for_each_other(self, play: Play) -> None:
        """Orders of half a year and of all time tell one story; one of them speaks in the list."""
        every = play("rules: {x: {when: {reason: ['history.*']}, action: x}}").actions
        parts = [play(f"rules: {{x: {{when: {{reason: [{name}]}}, action: x}}}}").actions
                 for name in ("history.count_6mo", "history.count_all")]  # fmt: skip
        assert every
        assert {a.key for part in parts for a in part} <= {a.key for a in every}
        assert sum(len(part) for part in parts) > 0

    def test_stop_where_one_says_so(self, play: Play) -> None:
        both = "most: 3, rules: {a: {when: {tier: [high]}, action: a, stop: %s}, b: {action: b}}"
        going, stopping = (play(f"{{{both % word}}}") for word in ("false", "true"))
        ways = Counter(a.rule for a in stopping.actions if a.tier == "high")
        assert ways["a"] > 0
        assert ways["b"] == 0
        assert Counter(a.rule for a in going.actions if a.tier == "high")["b"] == ways["a"]  # the control

    def test_give_a_row_its_most_urgent_actions_and_count_the_others(self, play: Play) -> None:
        found = play(
            "most: 2\nrules: {late: {action: late, priority: 9}, some: {action: some}, now: {action: now, priority: 1}}"
        )
        assert [a.action for a in found.actions] == ["now", "some"] * 240
        assert found.left_out == 240
        assert "left out: 240 less urgent actions" in " ".join(found.remarks())

    def test_act_otherwise_only_where_none_holds(self, play: Play) -> None:
        found = play(
            "rules: {a: {when: {where: age < 40}, action: a}}\notherwise: {low: {action: rest}, medium: {action: rest}}"
        )
        assert {a.action for a in found.actions} == {"a", "rest"}
        assert len({a.key for a in found.actions}) == len(found.actions)
        assert found.without == 240 - len(found.actions)

    def test_a_condition_without_a_value_does_not_hold(self, play: Play) -> None:
        known = play("rules: {a: {when: {where: town <> 'Rome'}, action: a}}")
        missing = play("rules: {a: {when: {where: town IS NULL}, action: a}}")
        rome = play("rules: {a: {when: {where: town = 'Rome'}, action: a}}")
        assert len(missing.actions) > 0
        assert len(known.actions) + len(missing.actions) + len(rome.actions) == 240


class TestMessages:
    def test_say_declared_columns_and_nothing_else_of_a_row(self, play: Play, finished: Path) -> None:
        frame = texts(finished / "run/calls.actions.csv")
        assert not frame.message.str.contains("secret").any()
        shown = play("{columns: {s: secret}, rules: {a: {action: a, message: '{s}'}}}")  # the control
        assert all(a.message == f"secret-{a.key}" for a in shown.actions)

    def test_are_filled_once_so_that_no_cell_names_a_place_of_its_own(self, play: Play) -> None:
        found = play(
            "{columns: {town: town}, missing: {town: x}, rules: {a: {action: a, message: '{key}: {town}'}}}"
        )
        cheating = [a.message for a in found.actions if "{" in a.message]
        assert cheating
        assert all(message.endswith(": {key} {score}") for message in cheating)

    def test_hold_nothing_invisible_of_a_cell(self, play: Play) -> None:
        found = play(
            "{columns: {town: town}, missing: {town: x}, rules: {a: {action: a, message: '{town}'}}}"
        )
        said = {a.message for a in found.actions}
        assert "abc" in said
        assert not any(c in message for message in said for c in "\u202e\u200b")

    def test_say_the_fallback_where_a_cell_is_missing_or_the_rule_passes_over_the_row_and_says_so(
        self, play: Play
    ) -> None:
        kept = play(
            "{columns: {town: town}, missing: {town: your town}, rules: {a: {action: a, message: 'In {town}'}}}"
        )
        assert len(kept.actions) == 240
        assert sum(a.message == "In your town" for a in kept.actions) > 0
        passed = play(
            "{columns: {town: town}, rules: {a: {action: a, message: 'In {town}', stop: true}, b: {action: b}}}"
        )
        lost = passed.passed["a", "town"]
        assert lost == sum(a.message == "In your town" for a in kept.actions)
        assert Counter(a.rule for a in passed.actions) == {"a": 240 - lost, "b": lost}  # it stops nothing
        assert f"rule `a` passed over {lost} rows: `town` is missing" in " ".join(passed.remarks())

    def test_say_numbers_as_people_do_and_texts_of_digits_as_they_are(self, play: Play) -> None:
        found = play(
            "{columns: {age: age, spent: history.amount_sum_all}, missing: {spent: nothing}, rules: {a: {action: a, message: '{key} {age} {spent} {score}'}}}"
        )
        first = found.actions[0]
        key, age, spent, score = first.message.split(" ", 3)
        assert key == first.key
        assert len(key) == 4  # 0001 is not 1
        assert age.isdigit()
        assert spent.replace(",", "").replace(".", "").isdigit()
        assert score.replace("\u00a0", " ") == f"{100 * first.score:.1f} %"

    def test_may_tell_the_reasons_that_raise_a_score(self, play: Play) -> None:
        found = play(
            "{missing: {reason_1: r1, reason_2: r2}, reasons: 2, rules: {a: {action: a, message: '{reason_1} | {reason_2}'}}}"
        )
        assert any("(usual: " in a.message for a in found.actions)
        assert not any("against" in a.message for a in found.actions)


class TestOwners:
    def test_get_the_most_urgent_actions_of_the_best_rows_first(self) -> None:
        def line(rank: int, owner: str, priority: int) -> Action:
            return Action(rank, f"k{rank}", "", "", 0.5, "call", owner, "", "", "", "r", priority)

        lines = [
            line(1, "Anna", 5),
            line(2, "Anna", 1),
            line(3, "Anna", 5),
            line(4, "Bob", 5),
            line(5, "", 5),
        ]
        found = assigned(lines, {"Anna": 2})
        assert [a.owner for a in found] == ["Anna", "Anna", "", "Bob", ""]
        assert [a.not_assigned for a in found] == ["", "", "beyond the 2 of Anna", "", ""]
        assert [a.owner for a in assigned(lines, {"Anna": 1, "*": 0})] == ["", "Anna", "", "", ""]
        assert len(found) == len(lines)  # none is dropped

    def test_that_are_missing_are_told(self, play: Play) -> None:
        found = play("{rules: {a: {action: a, owner: {column: desk}}}}")
        lost = [a for a in found.actions if not a.owner]
        assert len(found.actions) == 240
        assert 0 < len(lost) < 240
        assert {a.not_assigned for a in lost} == {"`desk` is missing"}
        assert f"not assigned: {len(lost)} (`desk` is missing)" in " ".join(found.remarks())


class TestDeadlines:
    @pytest.mark.parametrize(
        ("text", "start", "day"),
        [
            ("2 days", date(2026, 11, 20), date(2026, 11, 22)),  # a Friday: to the Sunday
            ("2 business days", date(2026, 11, 20), date(2026, 11, 24)),
            ("1 business day", date(2026, 11, 21), date(2026, 11, 23)),  # a Saturday
            (
                "2 business days",
                date(2026, 11, 22),
                date(2026, 11, 24),
            ),  # a Sunday, of which Monday is the next day
            ("5 business days", date(2026, 11, 23), date(2026, 11, 30)),
            ("1 month", date(2026, 1, 31), date(2026, 2, 28)),
            ("1 week", date(2026, 12, 29), date(2027, 1, 5)),
        ],
    )
    def test_are_counted_from_the_lists_day(self, text: str, start: date, day: date) -> None:
        assert due(text, start) == day

    def test_pass_over_holidays(self) -> None:
        assert due("1 business day", date(2026, 12, 24)) == date(2026, 12, 25)
        assert due("1 business day", date(2026, 12, 24), [date(2026, 12, 25)]) == date(2026, 12, 28)

    def test_of_a_list_without_a_day_stay_spans(self, work: Work) -> None:
        lines = ["id,label,x"] + [f"{n},{'yes' if n % 3 else 'no'},{n % 7}" for n in range(200)]
        work.write({"data/rows.csv": "\n".join(lines) + "\n", "conf/listing/calls.yaml": "file: calls\n",
                    "conf/playbook/plays.yaml": "kind: rules\nrules: {a: {action: a, deadline: 2 days}}\n"})  # fmt: skip
        said = work.run(
            "recipe=flat", "listing=calls", "playbook=plays", "hydra.run.dir=run", "report.explain=false"
        )
        assert said.code == 0, said.err
        assert set(texts(work.folder / "run/calls.actions.csv").deadline) == {"within 2 days"}


@pytest.fixture(scope="module")
def refused(finished: Path) -> Callable[[str], str]:
    """A playbook's YAML → the mistakes that are found in it before anything is fitted; "" if there is none."""
    config = Config.model_validate(yaml.safe_load((finished / "run/config.yaml").read_text()))
    with contextlib.chdir(finished), workplace(config, lambda *_: None) as work:
        prepared = prepare(config, work)

    def said(declared: str) -> str:
        plain = config.model_dump() | {"playbook": yaml.safe_load(declared)}
        try:
            changed = Config.model_validate(plain)
        except ValidationError as error:
            return "\n".join(
                f"{'.'.join(map(str, one['loc']))}: {one.get('ctx', {}).get('error', one['msg'])}"
                for one in error.errors()
            )
        try:
            with contextlib.chdir(finished):
                found = prepared.compiled
                playbook.check(changed, found.features, prepared.tables, found.labels)
        except UserError as error:
            return str(error)
        return ""

    return said


class TestMistakes:
    @pytest.mark.parametrize(
        ("old", "new", "key", "says"),
        [
            ("tier: [high,", "tier: [hihg,", "playbook.rules.lately.when.tier.0", "did you mean `high`?"),
            ("  medium: {", "  medum: {", "playbook.otherwise.medum", "did you mean `medium`?"),
            ("of {town}", "of {twon}", "playbook.rules.young.message", "did you mean `town`?"),
            ("of {town}", "of {secret}", "playbook.rules.young.message", "nothing is declared that `{secret}`"),
            ("of {town}", "of {town.__class__}", "playbook.rules.young.message", "`{town.__class__}` is no `{name}`"),
            ("of {town}", "of {town", "playbook.rules.young.message", "braces stand around the name"),
            ("{score}", "{score:.0%}", "playbook.rules.young.message", "did you mean `score`?"),
            ("    deadline: 2 business days\n", "", "playbook.rules.young.message", "`{deadline}`"),
            ("{reason}", "{reason_3}", "playbook.rules.young.message", "did you mean `reason_2`?"),
            ("missing: {town:", "missing: {twon:", "playbook.missing.twon", "did you mean `town`?"),
            ("2 business days", "2 hours", "young.deadline", "a deadline is a day"),
            ("2 business days", "soon", "young.deadline", "is not a span of time"),
            ("columns: {town: town", "columns: {score: town", "columns", "choose another name"),
            ("columns: {town: town", "columns: {a b: town", "columns", "a name has letters"),
            ("priority: 1", "priority: 11", "young.priority", "less than or equal to 9"),
            ("action: Call", "acton: Call", "young.acton", "not permitted"),
            # what only the data shows
            ("reason: [profile.age]", "reason: [profile.aeg]", "playbook.rules.young.when.reason.0", "did you mean `profile.age`?"),
            ("reason: [profile.age]", "reason: ['usage.*']", "playbook.rules.young.when.reason.0", "no feature is called `usage.*`"),
            ("where: age < 40", "where: agee < 40", "playbook.rules.young.when.where", "did you mean `age`?"),
            ("where: age < 40", "where: age", "playbook.rules.young.when.where", "is no condition"),
            ("where: age < 40", "where: age < 'x'", "playbook.rules.young.when.where", "values of their type"),
            ("where: age < 40", "where: read_csv('x') < 40", "playbook.rules.young.when.where", "may not"),
            ("where: age < 40", "where: (SELECT 1) < 40", "playbook.rules.young.when.where", "may not"),
            ("orders: history.count_6mo", "orders: history.cuont_6mo", "playbook.columns.orders", "did you mean `history.count_6mo`?"),
            ("column: desk", "column: dsek", "playbook.rules.young.owner.column", "did you mean `desk`?"),
        ],
    )  # fmt: skip
    def test_are_told_with_key_and_fix(
        self, refused: Callable[[str], str], old: str, new: str, key: str, says: str
    ) -> None:
        assert old in PLAYBOOK
        message = refused(PLAYBOOK.replace(old, new))
        assert key in message
        assert says in message
        assert refused(PLAYBOOK) == ""  # the control

    @pytest.mark.parametrize(
        ("old", "new", "where", "says"),
        [
            (
                "of {town}",
                "of {twon}",
                "plays.yaml:13 (playbook.rules.young.message)",
                "did you mean `town`?",
            ),
            (
                "age < 40",
                "agee < 40",
                "plays.yaml:9 (playbook.rules.young.when.where)",
                "did you mean `age`?",
            ),
        ],
    )
    def test_have_their_file_and_line(self, work: Work, old: str, new: str, where: str, says: str) -> None:
        work.write({**FILES, **shop(), "conf/playbook/plays.yaml": PLAYBOOK.replace(old, new)})
        message = work.refused("plan", *WORDS)
        assert f"conf/playbook/{where}" in message
        assert says in message

    def test_a_capacity_of_nobody_is_one_unless_a_column_may_name_him(
        self, refused: Callable[[str], str]
    ) -> None:
        typo = PLAYBOOK.replace("{Anna: 5}", "{Ana: 5}")
        assert refused(typo) == ""
        assert "did you mean `Anna`?" in refused(typo.replace("{column: desk, otherwise: Bob}", "Bob"))

    def test_a_label_is_no_ground_for_an_action(self, work: Work) -> None:
        lines = ["id,label,x"] + [f"{n},{'yes' if n % 3 else 'no'},{n % 7}" for n in range(60)]
        work.write({"data/rows.csv": "\n".join(lines) + "\n", "conf/listing/calls.yaml": "file: calls\n"})
        for rule in (
            "{columns: {l: label}, rules: {a: {action: a}}}",
            "{rules: {a: {when: {where: label = 'yes'}, action: a}}}",
        ):
            work.write({"conf/playbook/plays.yaml": f"kind: rules\n{yaml.safe_dump(yaml.safe_load(rule))}"})
            assert "label" in work.refused("plan", "recipe=flat", "listing=calls", "playbook=plays")

    @pytest.mark.parametrize(
        ("rest", "rule", "where"),
        [
            ("columns: {town: town}\nmissing: {town: here}\n", 'message: "{town}"', "playbook.columns.town"),
            ("", "when: {where: town > 'B'}", "playbook.rules.one.when.where"),
            ("", "owner: {column: town, otherwise: Bob}", "playbook.rules.one.owner.column"),
        ],
        ids=["message", "condition", "owner"],
    )
    def test_a_protected_attribute_is_read_only_where_that_is_declared(
        self, work: Work, rest: str, rule: str, where: str
    ) -> None:
        pytest.importorskip("fairlearn")
        work.write(FILES | shop())
        work.write({
            "conf/features/profile.yaml": "kind: attributes\ntable: clients\ncolumns: [age]\n",
            "conf/playbook/plays.yaml": f"kind: rules\n{rest}rules:\n  one: {{action: Call, {rule}}}\n",
        })  # fmt: skip
        said = work.refused("plan", *WORDS, "+fairness.attributes.home={column: town}")
        assert "the playbook reads `town`, the protected attribute `home`" in said
        assert where in said
        assert "in_playbook: true" in said
        allowed = work.run("plan", *WORDS, "+fairness.attributes.home={column: town, in_playbook: true}")
        assert allowed.code == 0, allowed.err
        assert "the playbook may read it" in allowed.out

    def test_a_feature_that_is_called_nothing_is_no_reason(self, work: Work) -> None:
        listing = LISTING + "words: {profile.age: ''}\n"
        work.write({**FILES, **shop(), "conf/listing/calls.yaml": listing})
        assert "it is never a reason" in work.refused("plan", *WORDS)

    def test_a_list_without_tiers_has_none(self, work: Work) -> None:
        work.write({**FILES, **shop(), "conf/listing/calls.yaml": "file: calls\n"})
        assert "the list of `orders_again` has no tiers" in work.refused("plan", *WORDS)

    def test_a_playbook_needs_a_list_and_something_to_do(self, work: Work) -> None:
        work.write({**FILES, **shop(), "conf/playbook/empty.yaml": "kind: rules\n"})
        assert "listing=latest, or playbook=none" in work.refused("plan", *WORDS, "listing=none")
        assert "`rules`, or `otherwise`" in work.refused("plan", *WORDS, "playbook=empty")


def as_run(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    "words", [[], ["model=[random_forest]", "model.random_forest.trees=40"]], ids=["linear", "forest"]
)
def test_on_real_donors_rules_find_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    write_files(tmp_path, {
        "conf/listing/tiered.yaml": "file: ranked\nsize: 300\ntiers: {low: 0, medium: 0.4, high: 0.7, critical: 0.85}\n",
        "conf/playbook/thanks.yaml": (
            "kind: rules\nrules:\n  gold: {when: {tier: [critical], where: segment = 'Gold'}, action: Call, deadline: 2 days}\n"
            "  often: {when: {reason: [giving_history.count_*]}, action: Write}\n"),
    })  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["recipe=donor_retention", "listing=tiered", "playbook=thanks", "model=[logistic]", *words,
                 "engine.threads=1", "report.explain=false", "evaluation.bootstrap=50", "hydra.run.dir=run"]) == 0  # fmt: skip
    frame = texts(tmp_path / "run/ranked.actions.csv")
    assert {"gold", "often"} == set(frame.rule)
    assert set(frame.deadline[frame.rule == "gold"]) == {"2019-01-03"}
    tiers = as_run(tmp_path / "run")["targets"]["gives_next_year"]["tiers"]
    assert tiers["critical"]["observed"] > tiers["low"]["observed"]
