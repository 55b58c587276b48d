"""Bad input gets a right answer or one clear error: exit code 2, one screen, no traceback, nothing half-written."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Work


def edit(work: Work, name: str, *changes: tuple[str, str]) -> None:
    path = work.folder / name
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


def flat(work: Work, label: str = "yes no", **columns: str) -> None:
    """A flat table of 300 rows: key, label drawn from `label`, x, and columns drawn from the given words."""
    draw = random.Random(5)
    header = ["id", "label", "x", *columns]
    lines = [",".join(header)]
    for number in range(300):
        cells = [f"{number:03d}", draw.choice(label.split() or [""]), f"{draw.gauss(0, 1):.4f}"]
        lines.append(",".join(cells + [draw.choice(words.split() or [""]) for words in columns.values()]))
    work.write({"data/rows.csv": "\n".join(lines) + "\n"})


def summary(work: Work) -> str:
    (run,) = work.runs()
    return (run / "summary.md").read_text()


class TestTheCommandLineItself:
    """The positive control: unchanged, the shop's recipe runs. Then one mistake at a time."""

    def test_unchanged_it_runs(self, work: Work) -> None:
        said = work.run("recipe=shop")
        assert said.code == 0, said.err
        assert "orders_again" in said.out
        assert [path.parent.name for path in work.runs()] == ["shop"]

    def test_in_a_process_of_its_own_a_mistake_looks_the_same(self, work: Work) -> None:
        edit(work, "data/clients.csv", ("id,town,age", "id,twon,age"))
        message = work.refused("recipe=shop", runner=work.process)
        assert "`clients.csv` has no column `town`" in message
        assert "did you mean `twon`?" in message

    def test_an_unknown_recipe(self, work: Work) -> None:
        assert "did you mean `shop`" in work.refused("recipe=shpo")

    def test_an_unknown_group_option(self, work: Work) -> None:
        assert "did you mean `logistic`" in work.refused("recipe=shop", "model=[logistik]")

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("+cohort.cutofs=[]", "cutoffs"),
            ("+evaluation.boostrap=3", "bootstrap"),
            ("seed=abc", "seed"),
            ("evaluation.bootstrap=many", "evaluation.bootstrap"),
            ("target.orders_again.horizon=soon", "horizon"),
            ("engine.memory=lots", "engine.memory"),
        ],
    )
    def test_an_unknown_key_or_a_wrong_type(self, work: Work, override: str, said: str) -> None:
        assert said in work.refused("recipe=shop", override)

    def test_an_unknown_key_in_a_file_is_found_by_line(self, work: Work) -> None:
        edit(work, "conf/features/history.yaml", ("windows:", "widnows:"))
        message = work.refused("recipe=shop")
        assert "history.yaml:3" in message
        assert "did you mean `windows`" in message

    def test_a_yaml_alias_bomb(self, work: Work) -> None:
        bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
        )
        work.write({"conf/features/history.yaml": f"kind: windows\ntable: orders\n{bomb}"})
        assert "aliases multiply" in work.refused("recipe=shop")


class TestFiles:
    def test_a_missing_folder(self, work: Work) -> None:
        assert "did you mean `data`?" in work.refused("recipe=shop", "source.path=dat")

    def test_a_missing_file(self, work: Work) -> None:
        (work.folder / "data/orders.csv").rename(work.folder / "data/order.csv")
        message = work.refused("recipe=shop")
        assert "there is no file for table `orders`" in message
        assert "did you mean `order.csv`?" in message

    @pytest.mark.parametrize("name", ["clients.csv", "orders.csv"])
    def test_an_empty_file(self, work: Work, name: str) -> None:
        work.write({f"data/{name}": ""})
        assert f"`{name}` is empty" in work.refused("recipe=shop")

    def test_a_header_without_rows(self, work: Work) -> None:
        work.write({"data/clients.csv": "id,town,age\n"})
        assert "`clients.csv` has no rows" in work.refused("recipe=shop")

    def test_no_event_at_all(self, work: Work) -> None:
        work.write({"data/orders.csv": "client,day,amount\n"})
        assert work.refused("recipe=shop")

    def test_a_truncated_parquet_file(self, work: Work) -> None:
        (work.folder / "data/orders.csv").unlink()
        path = work.folder / "data/orders.parquet"
        pq.write_table(
            pa.table({"client": ["0001"] * 999, "day": ["2020-01-01"] * 999, "amount": [1.0] * 999}), path
        )
        path.write_bytes(path.read_bytes()[:-100])
        assert "`orders.parquet` cannot be read" in work.refused("recipe=shop")

    def test_a_missing_column(self, work: Work) -> None:
        edit(work, "data/orders.csv", ("client,day,amount", "client,day,amuont"))
        message = work.refused("recipe=shop")
        assert "`orders.csv` has no column `amount`, which table `orders` declares" in message
        assert "did you mean `amuont`?" in message


class TestRows:
    def test_a_duplicate_key(self, work: Work) -> None:
        edit(work, "data/clients.csv", ("\n0002,", "\n0001,"))
        message = work.refused("recipe=shop")
        assert "`clients.csv` breaks the contract of table `clients` in 1 of 240 rows" in message
        assert "the key (id) stands in an earlier row already: 1 row" in message
        assert "clients.csv, record 2" in message

    def test_unparsable_dates(self, work: Work) -> None:
        text = (work.folder / "data/orders.csv").read_text().replace(",2020-", ",31.12.2020 ")
        work.write({"data/orders.csv": text})
        message = work.refused("recipe=shop")
        assert "`day` is not a date (for example '31.12.2020" in message
        assert "format: '%d.%m.%Y'" in message

    def test_infinities(self, work: Work) -> None:
        with (work.folder / "data/orders.csv").open("a") as file:
            file.write("0001,2020-01-01,inf\n0001,2020-01-01,-Infinity\n")
        assert "`amount` is infinite (for example 'inf'): 2 rows" in work.refused("recipe=shop")

    def test_mixed_time_zones(self, work: Work) -> None:
        edit(work, "conf/dataset/shop.yaml", ("day: date", "day: timestamp"))
        with (work.folder / "data/orders.csv").open("a") as file:
            file.write("0001,2020-01-01 10:00+02:00,1\n")
        message = work.refused("recipe=shop")
        assert "column `day` mixes stamps with an offset (1 rows)" in message
        assert "dataset.tables.orders.columns.day.timezone" in message

    def test_dropped_rows_are_named_in_the_run_and_kept_beside_it(self, work: Work) -> None:
        edit(work, "conf/dataset/shop.yaml", ("key: id", "key: id\n    on_bad_row: drop"))
        edit(work, "data/clients.csv", ("\n0002,", "\n,"), ("\n0003,", "\n0001,"))
        said = work.run("recipe=shop")
        assert said.code == 0, said.err
        assert "rejected: clients: 2 rows" in summary(work)
        (path,) = (work.folder / "outputs").glob("shop/*/rejected/clients.csv")
        assert "`id` is missing" in path.read_text()
        assert "stands in an earlier row already" in path.read_text()

    def test_leading_zeros_beside_a_blank_key_and_a_surname_na(self, work: Work) -> None:
        """They run, and come out as they went in."""
        edit(work, "conf/dataset/shop.yaml", ("key: id", "key: id\n    on_bad_row: drop"))
        edit(work, "data/clients.csv", ("\n0002,", "\n,"), ("\n0001,", "\nNA,"))
        assert work.run("recipe=shop").code == 0
        (path,) = (work.folder / "outputs").glob("shop/*/predictions.parquet")
        entities = set(pq.read_table(path)["entity"].to_pylist())
        expected = {"NA", *(f"{n:04d}" for n in range(3, 241))}
        assert entities == expected  # every client is a test row of the second cutoff


class TestTime:
    def test_a_cutoff_beyond_the_data(self, work: Work) -> None:
        message = work.refused("recipe=shop", "cohort.cutoffs=['2021-01-01','2031-01-01']")
        assert "2031-01-01" in message
        assert "lies beyond the data" in message

    def test_a_cutoff_before_the_data(self, work: Work) -> None:
        message = work.refused("recipe=shop", "cohort.cutoffs=['1999-01-01','2022-01-01']")
        assert "at the cutoff 1999-01-01 nothing was known yet" in message

    def test_a_horizon_longer_than_the_data(self, work: Work) -> None:
        message = work.refused("recipe=shop", "target.orders_again.horizon=30 years")
        assert "the horizon of 30 years after" in message
        assert "target.orders_again.horizon" in message


class TestLabelsAndFeatures:
    def test_a_flat_table_runs(self, work: Work) -> None:
        flat(work)
        assert work.run("recipe=flat").code == 0

    def test_a_target_of_one_class(self, work: Work) -> None:
        flat(work, label="yes")
        assert "label" in work.refused("recipe=flat")

    def test_a_target_without_any_label(self, work: Work) -> None:
        flat(work, label="")
        assert "label" in work.refused("recipe=flat")

    def test_all_missing_and_constant_columns_run(self, work: Work) -> None:
        flat(work, empty="", constant="k", one="1")
        said = work.run("recipe=flat")
        assert said.code == 0, said.err
        assert "Traceback" not in said.err
        for name, why in (("empty", "all missing"), ("constant", "constant"), ("one", "constant")):
            assert f"columns.{name} ({why})" in said.out

    def test_a_feature_made_from_the_targets_own_column(self, work: Work) -> None:
        flat(work)
        edit(work, "conf/features/columns.yaml", ("columns: all", "columns: [x, label]"))
        message = work.refused("recipe=flat")
        assert "feature `columns.label` is made of `rows.label`, which target `label` derives from" in message

    def test_also_in_disguise(self, work: Work) -> None:
        flat(work)
        edit(
            work,
            "conf/dataset/flat.yaml",
            ("infer: true", "infer: true, derive: {hint: \"upper(label) = 'YES'\"}"),
        )
        edit(work, "conf/features/columns.yaml", ("columns: all", "columns: [x, hint]"))
        assert "`columns.hint` is made of `rows.label`" in work.refused("recipe=flat")

    def test_a_where_that_would_read_a_file(self, work: Work) -> None:
        where = "features.history.where=\"amount > (select count(*) from read_csv('/etc/passwd'))\""
        message = work.refused("recipe=shop", f"+{where}")
        assert "expressions in YAML may not" in message
        assert "features.history.where" in message


HOSTILE = [
    'a"b; drop',
    "two words",
    "naïve ☃",
    "select",
    "w" * 300,
    "it's [1]: {x}",
    "entity",
    "cutoff",
    "=1+1",
]


class TestNamesThatBite:
    def test_columns_called_anything_from_the_file_to_the_bundle(self, work: Work) -> None:
        """Through features, models, predictions, lists, bundle and scoring, and the scores agree."""
        draw = random.Random(9)
        quoted = ['"' + name.replace('"', '""') + '"' for name in HOSTILE]
        lines = [",".join(["id", "label", *quoted])]
        for number in range(300):
            values = [draw.randint(0, 9) for _ in HOSTILE]
            lines.append(
                ",".join([f"{number:03d}", "yes" if values[0] + values[1] > 9 else "no", *map(str, values)])
            )
        work.write({"data/rows.csv": "\n".join(lines) + "\n"})
        said = work.run("recipe=flat", "model=[logistic,lightgbm]", "model.lightgbm.num_iterations=20")
        assert said.code == 0, said.err
        (run,) = work.runs()
        scored = work.run("score", f"run={run}", "input=data", "output=scores")
        assert scored.code == 0, scored.err
        again, before = (pq.read_table(folder).to_pandas().set_index("entity")
                         for folder in (work.folder / "scores/scores.parquet", run / "predictions.parquet"))  # fmt: skip
        assert (again.loc[before.index, "label.score"] == before["label.score"]).all()

    def test_columns_of_events_called_like_the_engines_own(self, work: Work) -> None:
        """Aggregates, gaps and conditions over columns `cutoff`, `entity` and `horizon_end`, known later than done."""
        text = (
            (work.folder / "data/orders.csv")
            .read_text()
            .replace("client,day,amount", "entity,cutoff,horizon_end")
        )
        work.write({"data/orders.csv": text})
        work.write({
            "conf/dataset/shop.yaml": """\
entity: clients
tables:
  clients: {key: id, known: always, columns: {id: text, town: text, age: integer}}
  orders:
    entity: entity
    clock: cutoff
    event_time: cutoff
    columns: {entity: text, cutoff: date, horizon_end: number}
""",
            "conf/features/history.yaml": """\
kind: windows
table: orders
where: horizon_end > 1
features:
  - {agg: [count, gap_mean, gap_last, days_since_last]}
  - {agg: [sum, slope, last], column: horizon_end, where: "entity <> 'x' and cutoff > '2020-01-02'"}
""",
        })  # fmt: skip
        said = work.run("recipe=shop")
        assert said.code == 0, said.err

    def test_tables_called_like_words_of_sql(self, work: Work) -> None:
        for name in ("conf/dataset/shop.yaml", "conf/target/orders_again.yaml", "conf/features/history.yaml"):
            path = work.folder / name
            path.write_text(
                path.read_text().replace("orders:", "order:").replace("table: orders", "table: order")
            )
        (work.folder / "data/orders.csv").rename(work.folder / "data/order.csv")
        assert work.run("recipe=shop").code == 0

    def test_a_column_called_like_one_of_ours(self, work: Work) -> None:
        flat(work, **{"@row": "1 2"})
        assert "has a column `@row`, a name that is taken here" in work.refused("recipe=flat")


class TestNamesOfTablesAndColumns:
    """A mistyped name is told at the line that has it, before any table is read."""

    @pytest.mark.parametrize(
        ("file", "old", "new", "line", "key"),
        [
            ("target/orders_again", "table: orders", "table: ordrs", 2, "target.orders_again.table"),
            ("features/history", "table: orders", "table: ordrs", 2, "features.history.table"),
            ("features/profile", "table: clients", "table: client", 2, "features.profile.table"),
            ("dataset/shop", "entity: client\n", "entity: clint\n", 8, "dataset.tables.orders.entity"),
            ("dataset/shop", "clock: day", "clock: daay", 9, "dataset.tables.orders.clock"),
            ("dataset/shop", "entity: clients", "entity: cliens", 1, "dataset.entity"),
        ],
    )
    def test_in_a_file(self, work: Work, file: str, old: str, new: str, line: int, key: str) -> None:
        edit(work, f"conf/{file}.yaml", (old, new))
        message = work.refused("recipe=shop")
        assert f"where: conf/{file}.yaml:{line} ({key})" in message
        assert f"did you mean `{old.split()[1]}`?" in message
        assert "reading" not in message

    def test_conditions_terms_and_relations_too(self, work: Work) -> None:
        work.write({
            "recipes/wrong.yaml": """\
defaults: [shop]
cohort:
  having: [{table: ordrs}]
target:
  orders_again:
    among: [{table: ordrs}]
features:
  more:
    kind: measures
    features:
      ratio:
        terms: {a: {table: ordrs, agg: count}, b: {relation: friends, agg: count}}
        value: a / b
"""
        })  # fmt: skip
        message = work.refused("recipe=wrong")
        assert "4 mistakes" in message
        for line, key in (
            (3, "cohort.having.0.table"), (6, "target.orders_again.among.0.table"),
            (12, "features.more.features.ratio.terms.a.table"), (12, "features.more.features.ratio.terms.b.relation"),
        ):  # fmt: skip
            assert f"recipes/wrong.yaml:{line}  `{key}`: no {key.rpartition('.')[2]} is called" in message

    def test_a_relations_table_and_columns(self, work: Work) -> None:
        relation = "+dataset.relations={{friends: {{table: {}, ends: [client, {}]}}}}"
        message = work.refused("recipe=shop", relation.format("ordrs", "day"))
        assert "(dataset.relations.friends.table)" in message
        assert "did you mean `orders`?" in message
        message = work.refused("recipe=shop", relation.format("orders", "dday"))
        assert "(dataset.relations.friends.ends.1)" in message
        assert "did you mean `day`?" in message

    def test_a_column_of_a_target_or_feature(self, work: Work) -> None:
        message = work.refused("recipe=shop", "features.history.features=[{agg: sum, column: amuont}]")
        assert "command line" in message
        assert "(features.history.features.0.column)" in message
        assert "did you mean `amount`?" in message


class TestAFlatTableOfOnesOwn:
    """`recipe=flat_churn` with `vars`: what a newcomer starts from."""

    @pytest.fixture(autouse=True)
    def only_what_ships(self, work: Work) -> None:
        for name in ("dataset/flat", "target/label"):
            (work.folder / f"conf/{name}.yaml").unlink()

    def write(self, work: Work, text: str, encoding: str = "utf-8") -> None:
        work.write({"own/table.csv": text.encode(encoding)})

    RUN = ("plan", "recipe=flat_churn", "source.path=own", "vars.file=table.csv")

    def test_alone_it_says_what_to_give(self, work: Work) -> None:
        message = work.refused("recipe=flat_churn")
        assert "there is no file for table `rows`: `telco_churn.csv`" in message
        assert "source.path=" in message
        assert "vars.file=" in message

    def test_a_mistyped_key_names_file_columns_and_override(self, work: Work) -> None:
        self.write(work, "Id,label\n1,yes\n")
        message = work.refused(*self.RUN, "vars.key=Idd")
        assert "`table.csv` has no column `Idd`, which table `rows` names as its key" in message
        assert "command line (vars.key=Idd) (dataset.tables.rows.key for own/table.csv)" in message
        assert "did you mean `Id`? valid here: Id, label" in message
        assert "set vars.key=" in message
        message = work.refused(*self.RUN)
        assert "recipes/flat_churn.yaml:" in message
        assert "as vars.key" in message

    def test_a_mistyped_label_too(self, work: Work) -> None:
        self.write(work, "Id,label\n1,yes\n")
        message = work.refused(*self.RUN, "vars.key=Id", "vars.label=lable")
        assert "command line (vars.label=lable) (target.label.column)" in message
        assert "did you mean `label`?" in message

    def test_a_key_that_is_none_says_how_to_do_without(self, work: Work) -> None:
        self.write(work, "Id,label\n1,yes\n1,no\n")
        message = work.refused(*self.RUN, "vars.key=Id", "vars.label=label")
        assert "stands in an earlier row already: 1 row" in message
        assert "'@row'" in message

    @pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
    def test_semicolons_decimal_commas_dotted_days_umlauts_and_empty_columns(
        self, work: Work, encoding: str
    ) -> None:
        draw = random.Random(1)
        lines = ["Kunde Nr;Umsatz;Seit;Straße;Gekündigt;;"]
        for number in range(200):
            label = draw.choice(["yes", "No ", ""])
            day = f"{draw.randint(1, 28):02d}.{draw.randint(1, 12)}.2021"
            lines.append(f"{number:04d};{draw.randint(0, 3000)},{draw.randint(10, 99)};{day};Weg;{label};;")
        self.write(work, "\r\n".join(lines) + "\r\n", encoding)
        said = work.run(*self.RUN, "vars.key=Kunde Nr", "vars.label=Gekündigt", "vars.positive=yes")
        assert said.code == 0, said.err
        assert "inferred: Umsatz number, Seit date, Straße text, Gekündigt text" in said.out
        message = work.refused(*self.RUN, "vars.key=Kunde Nr", "vars.label=Gekündigt")
        assert "did you mean `yes`?" in message

    def test_rows_without_a_key_are_refused_or_set_aside(self, work: Work) -> None:
        self.write(
            work,
            "Id,x,label\n" + "".join(f"{i or ''},{i % 7},{'yes' if i % 3 else 'no'}\n" for i in range(200)),
        )
        words = (*self.RUN, "vars.key=Id", "vars.label=label", "vars.positive=yes")
        assert "`Id` is missing: 1 row" in work.refused(*words)
        said = work.run(*words, "dataset.tables.rows.on_bad_row=drop")
        assert "rejected 1 of 200: `Id` is missing: 1" in said.out

    def test_a_column_twice(self, work: Work) -> None:
        self.write(work, "Id,Name,name\n1,a,b\n")
        assert "has the column `name` twice" in work.refused(*self.RUN, "vars.key=Id")

    def test_what_a_recipe_leaves_open_is_listed_with_its_comment(self, work: Work) -> None:
        work.write({
            "conf/source/there.yaml": "kind: folder\npath: ???\n",
            "recipes/open.yaml": """\
defaults:
  - override /dataset: flat
  - override /source: there
  - override /target: [label]
vars:
  file: ???  # the CSV file
  # the column that
  # tells rows apart
  key: ???
  label: ???
  positive: "yes"
""",
        })  # fmt: skip
        message = work.refused("recipe=open")
        assert "4 values have to be given" in message
        for line in (
            "conf/source/there.yaml:2  source.path\n",
            "recipes/open.yaml:6  vars.file: the CSV file\n",
            "recipes/open.yaml:9  vars.key: the column that tells rows apart\n",
            "recipes/open.yaml:10  vars.label\n",
            "fix: write on the command line: source.path=… vars.file=… vars.key=… vars.label=…\n",
        ):
            assert line in message
        message = work.refused("recipe=open", "source.path=x", "vars.key=x", "vars.label=x")
        assert "`vars.file` has to be given: the CSV file\n  where: recipes/open.yaml:6\n" in message

    def test_a_variable_that_is_nowhere_declared(self, work: Work) -> None:
        message = work.refused("recipe=shop", "cache=${vars.who}")
        assert "+vars.who=" in message
