"""Composition: where declarations are found, where they land, where each value came from, what is refused."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import yaml

from toolkit.cli import completion
from toolkit.cli.main import main
from toolkit.config import paths
from toolkit.config.compose import Composed

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGED = {
    "conf/config.yaml": (CHECKOUT / "conf/config.yaml").read_text(),
    "conf/dataset/shop.yaml": "entity: client\ntables: {orders: {key: id}}\n",
    "conf/target/buys.yaml": "kind: event_within\nhorizon: 30d\n",
    "conf/target/leaves.yaml": "kind: inactivity\nhorizon: 90d\n",
    "conf/features/profile.yaml": "kind: attributes\ncolumns: [age, town]\n",
    "conf/model/lightgbm.yaml": "kind: lightgbm\nlearning_rate: 0.1\nleaves: 31\n",
    "conf/model/logistic.yaml": "kind: logistic\n",
    "conf/split/random.yaml": "kind: random\n",
    "recipes/shop.yaml": """\
# A shop's clients
defaults:
  - override /dataset: shop
  - override /target: [buys, leaves]

target:
  buys:
    horizon: 60d
  mine: {kind: event_within, horizon: 7d}
seed: 5
""",
}
for default in yaml.safe_load(PACKAGED["conf/config.yaml"])["defaults"]:  # what every composition starts from
    for group, option in default.items() if isinstance(default, dict) else ():
        if isinstance(option, str) and not group.startswith("override"):
            PACKAGED.setdefault(f"conf/{group}/{option}.yaml", "{}\n")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Composed]:
    """What the verbs were called with, in an empty working folder, with PACKAGED as the package's own."""
    calls: list[Composed] = []
    package, work = tmp_path / "package", tmp_path / "work"
    write(package / "_share", PACKAGED)
    work.mkdir()
    monkeypatch.setattr(paths, "PACKAGE", package)
    monkeypatch.chdir(work)
    verbs = ModuleType("toolkit.cli.verbs")

    def record(composed: Composed) -> int:
        calls.append(composed)
        return 0

    for verb in ("run", "plan", "check", "show", "simulate"):
        setattr(verbs, verb, record)
    monkeypatch.setitem(sys.modules, "toolkit.cli.verbs", verbs)
    return calls


def files_left() -> list[str]:
    return sorted(str(p.relative_to(Path.cwd())) for p in Path.cwd().rglob("*") if p.is_file())


class TestWhereFilesLand:
    def test_a_recipe_lands_at_the_root_and_targets_under_their_names(self, seen: list[Composed]) -> None:
        assert main(["recipe=shop"]) == 0
        plain = seen[0].plain
        assert plain["dataset"]["entity"] == "client"
        assert plain["target"] == {
            "buys": {"kind": "event_within", "horizon": "60d"},
            "leaves": {"kind": "inactivity", "horizon": "90d"},
            "mine": {"kind": "event_within", "horizon": "7d"},
        }
        assert plain["model"] == {"lightgbm": {"kind": "lightgbm", "learning_rate": 0.1, "leaves": 31}}
        assert plain["seed"] == 5
        assert "recipe" not in plain
        assert seen[0].recipe == "shop"

    @pytest.mark.parametrize(
        ("given", "models"),
        [("model=logistic", {"logistic"}), ("model=[logistic,lightgbm]", {"logistic", "lightgbm"})],
    )
    def test_one_or_several_models(self, seen: list[Composed], given: str, models: set[str]) -> None:
        assert main(["recipe=shop", given]) == 0
        assert set(seen[0].plain["model"]) == models

    def test_the_command_line_overrides_recipe_and_groups(self, seen: list[Composed]) -> None:
        assert (
            main(
                ["recipe=shop", "target=buys", "target.buys.horizon=1d", "model.lightgbm.leaves=7", "seed=9"]
            )
            == 0
        )
        plain = seen[0].plain
        assert plain["target"]["buys"]["horizon"] == "1d"
        assert "leaves" not in plain["target"]
        assert (plain["model"]["lightgbm"]["leaves"], plain["seed"]) == (7, 9)
        assert seen[0].overrides[0] == "recipe=shop"

    @pytest.mark.parametrize(
        ("override", "value"),
        [
            ("features.profile.columns={every: 1 year}", {"every": "1 year"}),
            ("dataset.tables=[a, b]", ["a", "b"]),
            ("dataset.tables=[]", []),
        ],
    )
    def test_a_list_replaces_a_mapping_and_the_reverse(
        self, seen: list[Composed], override: str, value: Any
    ) -> None:
        """Where Hydra alone says `Cannot merge DictConfig with ListConfig`."""
        assert main(["recipe=shop", "features=profile", override, "seed=3"]) == 0
        first, *rest = override.partition("=")[0].split(".")
        found = seen[0].plain[first]
        for key in rest:
            found = found[key]
        assert found == value
        assert seen[0].plain["seed"] == 3
        assert override in str(seen[0].provenance.where(override.partition("=")[0]))

    def test_a_mapping_of_other_keys_replaces_a_mapping(
        self, seen: list[Composed], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As one kind of `split.validation` replaces another; where a key is shared, it is a mistake in the other."""
        assert main(["recipe=shop", "target.mine={fraction: 0.2}"]) == 0
        assert seen[0].plain["target"]["mine"] == {"fraction": 0.2}
        assert main(["recipe=shop", "target.mine={horizon: 1d}"]) == 0
        assert seen[1].plain["target"]["mine"] == {"kind": "event_within", "horizon": "1d"}
        for wrong, said in (
            ("target.mine={horizon: 1d, fraction: 0.2}", "`target.mine` has no key `fraction`"),
            ("target.mnie={fraction: 0.2}", "nothing composed has a key"),
            ("reading.ocr.engine=none", "`ocr` is a group of its own: ocr.engine=…"),
        ):
            assert main(["recipe=shop", wrong]) == 2
            assert said in capsys.readouterr().err

    def test_what_lies_beside_a_mixed_up_value_is_never_lost(self, seen: list[Composed]) -> None:
        """The list is inside the mapping: to replace the mapping would drop its other keys."""
        assert main(["recipe=shop", "features=profile", "features.profile={columns: {a: [b]}}"]) == 2
        assert seen == []

    @pytest.mark.parametrize("given", ["Gekündigt", "Kunde Nr", ";", "a;b", "日本"])
    def test_values_with_letters_of_any_script_need_no_quotes(self, seen: list[Composed], given: str) -> None:
        assert main(["recipe=shop", f"+vars.x={given}", f"name={given}"]) == 0
        assert (seen[0].plain["vars"]["x"], seen[0].plain["name"]) == (given, given)

    def test_a_header_in_the_file_wins(self, seen: list[Composed]) -> None:
        write(Path.cwd(), {"conf/target/odd.yaml": "# @package target.renamed\nkind: value\n"})
        assert main(["recipe=shop", "target=odd"]) == 0
        assert seen[0].plain["target"]["renamed"] == {"kind": "value"}

    def test_a_recipe_builds_on_another(self, seen: list[Composed]) -> None:
        write(Path.cwd(), {"recipes/small.yaml": "defaults: [shop, override /model: logistic]\nseed: 6\n"})
        assert main(["recipe=small"]) == 0
        assert (seen[0].plain["seed"], set(seen[0].plain["model"])) == (6, {"logistic"})
        assert "mine" in seen[0].plain["target"]


class TestSearchPath:
    LOCAL: ClassVar = {
        "conf/target/buys.yaml": "kind: local\n",
        "recipes/own.yaml": "defaults: [{override /target: buys}]\n",
    }

    def test_the_working_folder_comes_before_the_package(self, seen: list[Composed]) -> None:
        write(Path.cwd(), self.LOCAL)
        assert main(["recipe=own"]) == 0
        assert seen[0].plain["target"]["buys"] == {"kind": "local"}

    @pytest.mark.parametrize("layout", ["", "conf/"])
    def test_config_dir_comes_before_both(self, seen: list[Composed], tmp_path: Path, layout: str) -> None:
        write(Path.cwd(), self.LOCAL)
        write(tmp_path / "team", {f"{layout}target/buys.yaml": "kind: team\n"})
        assert main(["recipe=own", "--config-dir", str(tmp_path / "team")]) == 0
        assert seen[0].plain["target"]["buys"] == {"kind": "team"}

    def test_hydra_searchpath_is_read_by_the_same_rules(self, seen: list[Composed], tmp_path: Path) -> None:
        write(
            tmp_path / "more", {"target/far.yaml": "kind: far\n", "target/bad.yaml": "_target_: os.system\n"}
        )
        for scheme in ("", "file://"):
            place = f"hydra.searchpath=['{scheme}{tmp_path}/more']"
            assert main(["recipe=shop", "target=far", place]) == 0
            assert seen[-1].plain["target"]["far"] == {"kind": "far"}
            assert "more/target/far.yaml:1" in str(seen[-1].provenance.where("target.far.kind"))
            assert main(["recipe=shop", "target=bad", place]) == 2

    def test_the_checkout_is_not_listed_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(CHECKOUT)
        folders = [root.folder for root in paths.roots()]
        assert len(folders) == len(set(folders)) == 2

    def test_packaged_resolver(self, seen: list[Composed]) -> None:
        assert main(["recipe=shop", "cache='${packaged:recipes/data}'"]) == 0
        assert seen[0].plain["cache"] == str(paths.packaged("recipes/data"))
        assert main(["recipe=shop", "cache='${packaged:../secret}'"]) == 2


class TestFolders:
    def test_run_gets_a_folder_of_its_recipe_and_an_empty_one_does_not_stay(
        self, seen: list[Composed]
    ) -> None:
        assert main(["recipe=shop"]) == 0
        assert seen[0].folder.parent == Path.cwd() / "outputs/shop"
        assert files_left() == []
        assert not seen[0].folder.exists()

    @pytest.mark.parametrize("verb", ["plan", "check", "show", "simulate"])
    def test_other_verbs_leave_nothing_behind(self, seen: list[Composed], verb: str) -> None:
        assert main([verb, "recipe=shop"]) == 0
        assert main([verb, "-m", "recipe=shop", "seed=1,2"]) == 0
        assert len(seen) == 3
        assert list(Path.cwd().iterdir()) == []
        assert not seen[0].folder.exists()

    def test_multirun_gives_each_job_a_safe_folder(self, seen: list[Composed]) -> None:
        assert (
            main(["recipe=shop", "-m", "model=lightgbm,logistic", "cache=a/b"]) == 1
        )  # the stand-in for the verb leaves no runs, and the sweep says so
        assert [c.job for c in seen] == ["0", "1"]
        assert [set(c.plain["model"]) for c in seen] == [{"lightgbm"}, {"logistic"}]
        for composed in seen:
            inside = composed.folder.relative_to(Path.cwd() / "outputs/shop/multirun")
            assert len(inside.parts) == 2
        assert [composed.folder.name for composed in seen] == ["0", "1"]

    def test_a_secret_override_of_a_sweep_is_kept_nowhere(self, seen: list[Composed]) -> None:
        assert (
            main(["recipe=shop", "-m", "+vars.password=hunter2hunter2", "seed=1,2"]) == 1
        )  # the stand-in for the verb leaves no runs, and the sweep says so
        assert len(seen) == 2
        left = [path for path in Path.cwd().rglob("*") if path.is_file()]
        assert not [path for path in left if "hunter2" in path.name or "hunter2" in path.read_text("utf-8")]


class TestMultirun:
    def test_a_sweep_over_recipes_and_globs(self, seen: list[Composed]) -> None:
        assert main(["plan", "-m", "recipe=glob(sh*)", "seed=1,2,3"]) == 0
        assert [c.plain["seed"] for c in seen] == [1, 2, 3]

    def test_one_failing_job_is_told_and_the_others_run(
        self, seen: list[Composed], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from toolkit.errors import DataError

        def run(composed: Composed) -> int:
            seen.append(composed)
            if composed.plain["seed"] == 1:
                raise DataError("bad luck")
            return 0

        monkeypatch.setattr(sys.modules["toolkit.cli.verbs"], "run", run)
        assert main(["-m", "recipe=shop", "seed=1,2"]) == 2
        assert len(seen) == 2
        assert "bad luck" in capsys.readouterr().err


class TestProvenance:
    def test_the_last_writer_is_named(self, seen: list[Composed]) -> None:
        assert main(["recipe=shop", "model.lightgbm.leaves=7"]) == 0
        where = seen[0].provenance.where
        recipe = paths.packaged("recipes/shop.yaml")
        assert str(where("target.buys.horizon")) == f"{recipe}:8"
        assert (where("target.mine.kind").file, where("target.mine.kind").line) == (recipe, 9)
        assert str(where("target.buys.kind")) == f"{paths.packaged('conf/target/buys.yaml')}:1"
        assert str(where("model.lightgbm.leaves")) == "command line (model.lightgbm.leaves=7)"
        assert str(where("model.lightgbm.learning_rate")).endswith("conf/model/lightgbm.yaml:2")
        assert where(("dataset", "tables", "orders", "key")).line == 2

    def test_files_of_the_working_folder_are_named_relative_to_it(self, seen: list[Composed]) -> None:
        write(Path.cwd(), TestSearchPath.LOCAL)
        assert main(["recipe=own"]) == 0
        assert str(seen[0].provenance.where("target.buys.kind")) == "conf/target/buys.yaml:1"

    def test_what_is_taken_from_a_variable_was_written_where_the_variable_was(
        self, seen: list[Composed]
    ) -> None:
        write(
            Path.cwd(),
            {"recipes/r.yaml": "vars: {a: x, b: '${vars.a}'}\nname: ${vars.b}\ncache: c/${name}\n"},
        )
        assert main(["recipe=r"]) == 0
        where = seen[0].provenance.where
        assert str(where("name")) == "recipes/r.yaml:1 as vars.a"
        assert str(where("cache")) == "recipes/r.yaml:3"
        assert main(["recipe=r", "vars.a=y"]) == 0
        assert str(seen[1].provenance.where("name")) == "command line (vars.a=y)"

    def test_a_secret_of_the_command_line_is_masked(self, seen: list[Composed]) -> None:
        assert main(["recipe=shop", "+vars={password: hunter2, of: shop}"]) == 0
        assert str(seen[0].provenance.where("vars.of")) == "command line (+vars={password: ***, of: shop})"

    def test_a_list_replaces_a_list(self, seen: list[Composed]) -> None:
        write(
            Path.cwd(),
            {
                "recipes/r.yaml": "defaults: [override /features: profile]\n\n"
                "features:\n  profile:\n    columns: [age]\n"
            },
        )
        assert main(["recipe=r"]) == 0
        where = seen[0].provenance.where
        assert str(where("features.profile.columns")) == "recipes/r.yaml:5"
        assert str(where(("features", "profile", "columns", 1))) == "recipes/r.yaml:5"

    def test_values_from_the_environment_are_marked(
        self, seen: list[Composed], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
        text = "password: ${oc.env:SHOP_PASSWORD}\nlink: x://u:${password}@h\nseed_again: ${seed}\n"
        write(Path.cwd(), {"recipes/r.yaml": text})
        assert main(["recipe=r"]) == 0
        assert seen[0].plain["link"] == "x://u:hunter2@h"
        assert seen[0].from_environment == {"password", "link"}


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("seed: 1\nname: x\nseed: 2\n", 3, "`seed` stands twice, first in line 1"),
        (BOMB, 5, "expands to more than 100,000 values"),
        ("a: &a [*a]\n", 1, "contains itself"),
        ("seed: 1\nmodel:\n  m:\n    _target_: os.system\n", 4, "`_target_` is not allowed"),
        ("a: &x {_target_: y}\nb: {<<: *x}\n", 1, "`_target_` is not allowed"),
        ("seed: !!python/object/apply:os.system [ls]\n", 1, "YAML tag"),
        ("a: 1\ncode: 0017\n", 2, "octal"),
        ("send: 12:30\n", 1, "base 60"),
        ("on: x\n", 1, "true or false"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("where: a: b\n", 1, "quotes"),
        ("- a\n", 1, "must be a mapping"),
        ("hydra: {callbacks: {c: {x: 1}}}\n", 1, "`hydra.callbacks` may not be set in a file"),
        ("a: {job_logging: {}}\nhydra: ${a}\n", 2, "`hydra` must be a mapping"),
        ("hydra: {job: {env_set: {A: b}}}\n", 1, "`hydra.job.env_set` may not be set"),
        ("hydra:\n  searchpath: [a, 'pkg://os']\n", 2, "may not stand on the search path"),
        ("defaults: [/target@hydra.callbacks: buys]\n", 1, "writes into Hydra's own settings"),
        ("# @package hydra.callbacks.x\na: 1\n", 1, "`@package hydra` is not allowed"),
    ],
)
def test_what_a_file_may_not_hold_is_refused_by_line(
    seen: list[Composed], capsys: pytest.CaptureFixture[str], text: str, line: int, said: str
) -> None:
    write(Path.cwd(), {"recipes/bad.yaml": text})
    assert main(["recipe=bad"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert f"recipes/bad.yaml:{line}" in err
    assert "Traceback" not in err
    assert seen == []


def test_groups_of_hydra_cannot_be_declared_by_files(seen: list[Composed]) -> None:
    write(Path.cwd(), {"conf/hydra/callbacks/evil.yaml": "x: 1\n"})
    assert main(["recipe=shop", "+hydra/callbacks=evil"]) == 2


def test_targets_are_refused_on_the_command_line_too(
    seen: list[Composed], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipe=shop", "+model.m._target_=os.system"]) == 2
    assert main(["recipe=shop", "+model.m={_target_: os.system}"]) == 2
    assert capsys.readouterr().err.count("`_target_` is not allowed") == 2
    assert seen == []


def test_a_pickle_is_never_loaded(seen: list[Composed], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--experimental-rerun", "x.pickle"]) == 2
    assert "pickle" in capsys.readouterr().err


class TestCommandLine:
    def test_flags_may_stand_anywhere(self, seen: list[Composed]) -> None:
        assert (
            main(["recipe=shop", "-m", "seed=1,2", "model=logistic"]) == 1
        )  # the stand-in for the verb leaves no runs, and the sweep says so
        assert len(seen) == 2

    def test_cfg_prints_yaml(self, seen: list[Composed], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["recipe=shop", "--cfg", "job"]) == 0
        out = capsys.readouterr().out
        assert "horizon: 60d" in out
        assert "hydra:" not in out
        assert seen == []

    def test_info_names_the_search_path(
        self, seen: list[Composed], capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(Path.cwd(), TestSearchPath.LOCAL)
        assert main(["recipe=shop", "--info", "searchpath"]) == 0
        assert f"recipes://{Path.cwd()}/recipes" in capsys.readouterr().out

    def test_help_lists_verbs_recipes_and_groups(
        self, seen: list[Composed], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--help"]) == 0
        out = capsys.readouterr().out
        for word in ("simulate", "shop", "A shop's clients", "lightgbm, logistic"):
            assert word in out

    def test_completion_offers_recipes_options_and_verbs(
        self, seen: list[Composed], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def offered(line: str) -> list[str]:
            monkeypatch.setenv("COMP_LINE", line)
            assert main(["-sc", "query=bash"]) == 0
            return capsys.readouterr().out.split()

        assert offered("toolkit recipe=") == ["recipe=shop"]
        assert offered("python -m toolkit check recipe=shop model=l") == ["model=lightgbm", "model=logistic"]
        assert "plan" in offered("python -m toolkit p")
        assert "recipe=" in offered("toolkit plan re")

    def test_completion_script_is_bash(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["-sc", "install=bash"]) == 0
        script = capsys.readouterr().out
        assert script.strip() == completion.INSTALL.strip()
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0

    def test_a_bug_keeps_its_traceback(self, seen: list[Composed], monkeypatch: pytest.MonkeyPatch) -> None:
        def bug(_: Composed) -> int:
            raise ValueError("ours")

        monkeypatch.setattr(sys.modules["toolkit.cli.verbs"], "plan", bug)
        with pytest.raises(ValueError, match="ours"):
            main(["plan", "recipe=shop"])

    def test_interrupting_ends_with_130(self, seen: list[Composed], monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(_: Composed) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(sys.modules["toolkit.cli.verbs"], "plan", interrupted)
        assert main(["plan", "recipe=shop"]) == 130


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from toolkit.cli.main import main; code = main(['--help']);"
        "heavy = {'pandas', 'torch', 'sklearn', 'duckdb', 'hydra', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(CHECKOUT)}
    )
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 2
