"""The network learns what only pictures tell, from scratch or behind a pretrained backbone, and scores anywhere."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from drawn import LAYOUTS, pages

from toolkit.config.paths import packaged
from toolkit.errors import BundleError, ConfigError, DataError
from toolkit.modalities import NOTHING, Images, Modalities
from toolkit.models import Batch, Column, Fitted, Task, store
from toolkit.models.neural import settings
from toolkit.models.neural.image import Augmentation, ImageBranch, ImageSizes, Shown, augmented, evened, ink
from toolkit.models.neural.pretrained import read

LAYOUT = Task("layout", "multiclass", LAYOUTS)
COLUMN = [Column("number")]
TRAIN, VALID, TEST = pages(120, 0), pages(40, 1), pages(200, 2)
SMALL: dict[str, Any] = {
    "kind": "multimodal", "use": ["image"], "image": {"channels": 8, "blocks": 3, "width": 32},
    "fusion": {"kind": "none"}, "heads": {"hidden": 0}, "loss": {"kind": "bce"},
    "optimizer": {"kind": "adamw", "lr": 0.003}, "scheduler": {"kind": "constant"},
    "trainer": {"epochs": 4, "batch_rows": 16, "patience": 20, "average": 0.9, "accelerator": "cpu"},
}  # fmt: skip


def configured(**changes: Any) -> settings.Multimodal:
    """SMALL with changes; a mapping is laid over the one that is there."""
    over = {
        name: SMALL.get(name, {}) | value if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return settings.Multimodal.model_validate(SMALL | over)


def fit(train: Batch = TRAIN, valid: Batch = VALID, keep: Path | None = None, **changes: Any) -> Fitted:
    return configured(**changes).fit(
        [LAYOUT], COLUMN, train, valid, seed=1, threads=1, **({"keep": keep} if keep else {})
    )


def scores(fitted: Fitted, batch: Batch = TEST) -> np.ndarray:
    (found,) = fitted.predict(batch.X, batch.modalities)
    return found


def accuracy(fitted: Fitted, batch: Batch = TEST) -> float:
    """On rows that have a picture."""
    seen = batch.modalities.images[0].lengths > 0
    return float((scores(fitted, batch).argmax(1) == batch.y[:, 0])[seen].mean())


def looks(batch: Batch) -> Images:
    return batch.modalities.images[0]


def showing(batch: Batch, images: Images) -> Batch:
    return replace(batch, modalities=Modalities(images=(images,)))


def some(batch: Batch, rows: Any) -> Batch:
    rows = np.asarray(rows)
    return Batch(batch.X[rows], batch.y[rows], batch.modalities.some(rows))


@pytest.fixture(scope="module")
def network() -> Fitted:
    return fit()


# --- what is learnt ---------------------------------------------------------------------------------


def test_a_layout_is_learnt_from_pictures_and_nothing_from_those_of_other_rows(network: Fitted) -> None:
    assert accuracy(network) > 0.95
    assert network.reads_more
    assert "modalities: images `pages`" in network.notes[0]
    chance = fit(showing(TRAIN, looks(TRAIN).some(np.random.default_rng(0).permutation(120))))
    assert accuracy(chance) < 0.55  # three layouts


def test_beside_columns_each_tells_its_part() -> None:
    """Layout of the page, or the sign of a number: four classes, of which either alone tells half."""
    labels = [2 * (batch.y[:, 0] == 1) + (batch.X[:, 0] > 0) for batch in (TRAIN, VALID, TEST)]
    train, valid, test = (
        replace(batch, y=y[:, None].astype(np.float32))
        for batch, y in zip((TRAIN, VALID, TEST), labels, strict=True)
    )
    seen = looks(test).lengths > 0
    task = Task("both", "multiclass", ("a", "b", "c", "d"))
    found = {}
    for use in (["tabular", "image"], ["tabular"], ["image"]):
        config = configured(
            use=use, fusion={"kind": "concat", "channels": 16, "width": 32},
            trainer={"epochs": 8 if len(use) == 2 else 3},
            tabular={"hidden": 16, "width": 16, "numbers": "plain"},
        )  # fmt: skip
        fitted = config.fit([task], COLUMN, train, valid, seed=0, threads=1)
        found["+".join(use)] = (scores(fitted, test).argmax(1) == test.y[:, 0])[seen].mean()
    assert found["tabular+image"] > 0.88, found
    assert max(found["tabular"], found["image"]) < 0.75, found


def test_the_shipped_network_has_the_settings_of_its_kind() -> None:
    conf = packaged("conf") / "model"
    shipped = settings.Multimodal.model_validate(
        yaml.safe_load((conf / "page_network.yaml").read_text("utf-8"))
    )
    assert shipped.use == ("image",)
    assert shipped.image == settings.ImageSettings()
    whole = yaml.safe_load((conf / "multimodal.yaml").read_text("utf-8"))
    assert settings.ImageSettings.model_validate(whole["image"]) == settings.ImageSettings()
    assert set(whole["image"]) == set(settings.ImageSettings.model_fields)


# --- rows and their pictures ------------------------------------------------------------------------


def test_a_row_is_scored_by_its_own_pictures_whatever_else_is_scored(network: Fitted) -> None:
    whole = scores(network)
    for row in (0, 7, 150):
        np.testing.assert_allclose(scores(network, some(TEST, [row])), whole[[row]], atol=1e-6)
    backwards = np.arange(200)[::-1]
    np.testing.assert_allclose(scores(network, some(TEST, backwards)), whole[backwards], atol=1e-6)
    without = looks(TEST).lengths == 0
    assert 5 < without.sum() < 60
    assert np.ptp(whole[without], axis=0).max() < 1e-6  # all that is known of them is that they have none
    dark = replace(looks(TEST), pixels=255 - looks(TEST).pixels)
    changed = scores(network, showing(TEST, dark))
    np.testing.assert_allclose(changed[without], whole[without], atol=1e-6)
    assert np.abs(changed[~without] - whole[~without]).max() > 0.1  # else nothing was shown


def test_rows_are_scored_in_slices_alike(network: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.models.neural import fitted, image

    whole = scores(network)
    monkeypatch.setattr(fitted, "_SHOWN", 13)
    monkeypatch.setattr(image, "GROUP", 5)
    np.testing.assert_allclose(scores(network), whole, atol=1e-6)
    nobody = some(TEST, np.flatnonzero(looks(TEST).lengths == 0)[:3])
    assert scores(network, nobody).shape == (3, 3)
    assert scores(network, some(TEST, np.zeros(0, int))).shape == (0, 3)


@pytest.mark.parametrize("pool", ["mean", 2])
def test_pages_of_a_row_are_pooled_and_of_one_page_its_own_is_left(pool: Any) -> None:
    torch.manual_seed(0)
    branch = ImageBranch(ImageSizes(width=8, channels=8, blocks=2, pool=pool)).eval()
    pixels = torch.from_numpy(looks(TEST).pixels[:3])
    with torch.no_grad():
        three = branch(Shown(pixels, torch.tensor([1, 0, 2])))
        alone = branch(Shown(pixels[:1], torch.tensor([1])))
        twice = branch(Shown(pixels[[1, 1]], torch.tensor([2])))
        once = branch(Shown(pixels[[1]], torch.tensor([1])))
        other = branch(Shown(pixels[[0, 2, 2]], torch.tensor([1, 0, 2])))
    torch.testing.assert_close(three[:1], alone)
    torch.testing.assert_close(twice, once)
    torch.testing.assert_close(three[0], other[0])
    assert not torch.allclose(three[2], other[2], atol=1e-3)


def test_foreign_pictures_are_refused_by_name(network: Fitted) -> None:
    with pytest.raises(
        DataError, match="the model was fitted with the images `pages`, and the rows to score have none"
    ):
        network.predict(TEST.X, NOTHING)
    smaller = replace(looks(TEST), pixels=looks(TEST).pixels[:, :48])
    with pytest.raises(DataError, match="`pages` has pictures of 48 × 72 pixels"):
        scores(network, showing(TEST, smaller))
    with pytest.raises(DataError, match="200 rows, what stands beside it 5"):
        network.predict(TEST.X, some(TEST, np.arange(5)).modalities)


def test_pictures_that_no_training_row_has_are_left_out_and_noted() -> None:
    empty = Images("stamps", np.zeros(121, np.int64), np.zeros((0, 32, 32), np.uint8))
    train = replace(TRAIN, modalities=Modalities(images=(looks(TRAIN), empty)))
    fitted = fit(train, trainer={"epochs": 1})
    assert "images `stamps`: no training row has one: left out" in fitted.notes[0]
    with pytest.raises(DataError, match="no training row has anything of the modalities in use"):
        fit(replace(TRAIN, modalities=Modalities(images=(empty,))))


# --- same seed, stops and bundles -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_another(network: Fitted) -> None:
    np.testing.assert_array_equal(scores(fit()), scores(network))
    other = configured().fit([LAYOUT], COLUMN, TRAIN, VALID, seed=2, threads=1)
    assert np.abs(scores(other) - scores(network)).max() > 1e-3


def test_a_fit_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(network: Fitted, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(target: str, done: int, total: int, running: Any = None) -> None:
        if done == 2 and running:
            raise StopError

    with pytest.raises(StopError):
        configured().fit([LAYOUT], COLUMN, TRAIN, VALID, seed=1, threads=1, progress=stop, keep=tmp_path)
    assert list(tmp_path.iterdir())
    np.testing.assert_array_equal(scores(fit(keep=tmp_path)), scores(network))
    dark = showing(TRAIN, replace(looks(TRAIN), pixels=255 - looks(TRAIN).pixels))
    assert any("of other data or settings" in note for note in fit(dark, keep=tmp_path).notes[0])


def test_a_saved_network_scores_alike(network: Fitted, tmp_path: Path) -> None:
    store.save(tmp_path / "m", configured(), network)
    assert {path.suffix for path in (tmp_path / "m").iterdir()} == {".json", ".safetensors"}
    np.testing.assert_array_equal(scores(store.load(tmp_path / "m")), scores(network))


# --- what is altered while learning -----------------------------------------------------------------


def altered(**by: float) -> tuple[torch.Tensor, torch.Tensor]:
    x = ink(torch.from_numpy(looks(TEST).pixels[:16]))
    torch.manual_seed(0)
    return x, augmented(x, Augmentation(**by))


def test_nothing_is_altered_where_nothing_is_asked_and_all_that_is() -> None:
    x, same = altered()
    assert same is x
    for name, value in (settings.Augment().model_dump() | {"erase": 0.4}).items():
        before, after = altered(**{name: value})
        assert after.shape == before.shape
        assert (after - before).abs().amax((1, 2, 3)).median() > 0.02, name
        torch.testing.assert_close(after, altered(**{name: value})[1], rtol=0, atol=0)
    _, gone = altered(erase=1.0)
    assert 0.05 < 1 - float(gone.sum() / x.sum()) < 0.6


def test_a_turn_keeps_the_sides_of_a_page() -> None:
    """A square in the middle of a tall page is still one after a turn; by shears it would not be."""
    x = torch.zeros(8, 1, 120, 60)
    x[:, :, 50:70, 20:40] = 1
    torch.manual_seed(3)
    turned = augmented(x, Augmentation(rotate=180))
    assert (turned.sum((1, 2, 3)) / 400 - 1).abs().max() < 0.02
    wide = (turned.amax(2) > 0.5).sum(2).float()
    high = (turned.amax(3) > 0.5).sum(2).float()
    assert (wide - high).abs().max() <= 2
    torch.manual_seed(3)
    torch.testing.assert_close(
        augmented(torch.zeros(8, 1, 12, 6), Augmentation(0.1, 9, 0.1)), torch.zeros(8, 1, 12, 6)
    )


def test_a_pale_page_and_one_in_a_shadow_look_like_the_page_itself() -> None:
    x = ink(torch.from_numpy(looks(TEST).pixels[:4]))
    shadow = torch.linspace(0, 0.6, x.shape[3])

    def unlike(other: torch.Tensor, itself: torch.Tensor) -> float:
        return float((other - itself).abs().mean() / itself.abs().mean())

    for seen in (0.3 * x, x + shadow, 0.5 * x + shadow):
        assert unlike(seen, x) > 0.4
        assert unlike(evened(seen), evened(x)) < unlike(seen, x) / 4
    blank = evened(torch.full((2, 1, 50, 30), 0.2))
    assert blank.abs().max() < 1e-4


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_few_pictures_are_enough_for_a_batch(rows: int) -> None:
    """Batches of sixteen: one picture may be alone in its batch, or none may be there."""
    lengths = np.eye(1, rows, rows - 1, dtype=np.int64)[0]
    images = Images("pages", np.r_[0, np.cumsum(lengths)], looks(TRAIN).pixels[:1, :16, :16])
    batch = Batch(
        TRAIN.X[:rows], np.arange(rows)[:, None].astype(np.float32) % 2, Modalities(images=(images,))
    )
    two = Batch(
        np.r_[batch.X, batch.X], np.r_[batch.y, 1 - batch.y], batch.modalities.some(np.r_[0:rows, 0:rows])
    )
    config = configured(trainer={"epochs": 1})
    fitted = config.fit([Task("y", "binary")], COLUMN, two, two, seed=0, threads=1)
    assert np.isfinite(scores(fitted, two)).all()


# --- pretrained backbones ---------------------------------------------------------------------------

transformers = pytest.importorskip("transformers")


def resnet(folder: Path) -> Path:
    torch.manual_seed(0)
    sizes = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    transformers.AutoModel.from_config(sizes).save_pretrained(folder)
    told = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 48}}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def vit(folder: Path) -> Path:
    """As a classifier leaves it: with a head that is not used, and without a pooler."""
    torch.manual_seed(0)
    sizes = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    transformers.ViTForImageClassification(sizes).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("backbones")
    resnet(folder / "resnet")
    vit(folder / "vit")
    return folder


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("freeze", [True, False])
def test_a_head_or_all_of_a_backbone_learns_and_its_bundle_scores_without_it(
    backbones: Path, kind: str, freeze: bool, tmp_path: Path
) -> None:
    """Weights drawn at random and a short training: it has to become better, not to be good."""
    folder = tmp_path / "mine"
    shutil.copytree(backbones / kind, folder)
    image = {"backbone": str(folder), "freeze": freeze, "width": 32, "dropout": 0.0}
    chosen = {"image": image, "optimizer": {"lr": 0.01}, "trainer": {"epochs": 6 if freeze else 2}}
    fitted = fit(**chosen)
    if freeze:
        assert accuracy(fitted) > 0.6
    assert fitted.epochs[-1]["loss"] < fitted.epochs[0]["loss"]  # type: ignore[attr-defined]
    (note,) = [note for note in fitted.notes[0] if "SHA-256" in note]
    assert ("stays as it is" if freeze else "learns along") in note
    before, now = read(str(folder)).state_dict(), {}
    if not freeze:
        now = fitted.network.images[0].encoder.state_dict()  # type: ignore[attr-defined]
        assert any(not torch.equal(before[name], one) for name, one in now.items())
    store.save(tmp_path / "m", configured(**chosen), fitted)
    assert (tmp_path / "m" / "backbone.safetensors").is_file() == freeze
    shutil.rmtree(folder)
    np.testing.assert_allclose(scores(store.load(tmp_path / "m")), scores(fitted), atol=1e-6)


def test_a_frozen_backbone_reads_each_picture_once(backbones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.models.neural.pretrained import Backbone

    seen = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, x: (seen.append(len(x)), forward(self, x))[1])
    fit(image={"backbone": str(backbones / "resnet")}, trainer={"epochs": 3})
    assert (
        sum(seen) == len(looks(TRAIN).pixels) + len(looks(VALID).pixels) + 1
    )  # one blank, to see how wide it is


def test_what_is_read_depends_on_the_files_alone_and_is_quiet(
    backbones: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    first, second = read(str(backbones / "vit")), read(str(backbones / "vit"))
    assert first.digest() == second.digest() != read(str(backbones / "resnet")).digest()
    assert torch.equal(torch.rand(1), drawn)  # nobody's random numbers were used up
    assert first.size == (32, 32)
    assert read(str(backbones / "resnet")).size == (48, 48)
    said = capfd.readouterr()
    assert said.out + said.err == ""
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def pickled(folder: Path) -> None:
    torch.save(read(str(folder)).model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def told(folder: Path, **facts: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (pickled, "other files of weights are not taken"),
        (lambda folder: told(folder, model_type="bert"), "its kind is `bert`"),
        (lambda folder: (folder / "config.json").unlink(), "is no backbone for pictures that is known here"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not readable JSON"),
        (lambda folder: told(folder, hidden_sizes=[8, 16, 32], depths=[1, 1, 1]), "of its weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be read"),
        (lambda folder: shutil.rmtree(folder), "there is no folder"),
    ],
    ids=["pickle", "another kind", "no config", "torn config", "too few weights", "torn weights", "nothing"],
)
def test_what_is_no_backbone_is_refused(
    backbones: Path, spoil: Callable[[Path], Any], says: str, tmp_path: Path
) -> None:
    shutil.copytree(backbones / "resnet", tmp_path / "mine")
    spoil(tmp_path / "mine")
    with pytest.raises(ConfigError, match=says):
        fit(image={"backbone": str(tmp_path / "mine")})


def test_code_that_lies_beside_the_weights_is_not_run(backbones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(backbones / "resnet", folder)
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nclass Theirs: pass\n")
    told(folder, auto_map={"AutoModel": "theirs.Theirs", "AutoConfig": "theirs.Theirs"})
    assert read(str(folder)).width == 16
    assert not (tmp_path / "run").exists()


def test_a_bundle_whose_backbone_is_something_else_is_refused(backbones: Path, tmp_path: Path) -> None:
    chosen = {"image": {"backbone": str(backbones / "resnet")}, "trainer": {"epochs": 1}}
    store.save(tmp_path / "m", configured(**chosen), fit(**chosen))
    path = tmp_path / "m" / "backbone.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"config": facts["config"] | {"model_type": "timm_wrapper"}}))
    with pytest.raises(BundleError, match="timm_wrapper"):
        store.load(tmp_path / "m")
    path.write_text(json.dumps(facts | {"config": facts["config"] | {"hidden_sizes": [8, 8]}}))
    with pytest.raises(BundleError, match="do not belong together"):
        store.load(tmp_path / "m")


def test_a_hub_out_of_reach_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="not on this machine, and the model hub is out of reach") as error:
        fit(image={"backbone": "someone/pages"})
    assert "give its folder's path" in str(error.value.fix)
    with pytest.raises(ConfigError, match="neither a folder nor a name on the hub"):
        fit(image={"backbone": "no such: name"})


def test_without_transformers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.errors.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        fit(image={"backbone": "someone/pages"})
    assert "pip install 'toolkit[pretrained]'" in str(error.value.fix)
