"""Backbones that others trained, read through `transformers`, without torchvision and without their code.

A backbone is a folder (of one's own, or of a model hub) with `config.json`, weights in safetensors and, where
they have one, `preprocessor_config.json`. Nothing else of it is read, and no code that comes with it is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from toolkit.errors import BundleError, ConfigError, did_you_mean, need

WHERE = "model.multimodal.image.backbone"
# Networks of pictures whose last states are positions; the library knows hundreds of others.
KINDS = (
    "beit", "bit", "convnext", "convnextv2", "data2vec-vision", "deit", "dinov2", "efficientnet",
    "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer", "pvt_v2", "regnet",
    "resnet", "swin", "swinv2", "vit",
)  # fmt: skip
_FILES = ("config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where a backbone does not say
_GROUP = 16  # pictures at a time
_SECONDS = 10  # for the hub to answer


class Backbone(nn.Module):
    """A pretrained network; a picture's vector is the mean over positions of its last states.

    facts: its configuration, the size it wants pictures in (height, width; None: any), mean and deviation of
    the channels that it was trained on, and the vector's width; plain values, and all it is built from but for
    its weights.
    """

    def __init__(self, model: nn.Module, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.facts = model, dict(facts)
        pooler = getattr(model, "pooler", None)
        if isinstance(pooler, nn.Module) and list(pooler.parameters()):
            model.register_module("pooler", None)  # is not used here, and many a file has no weights for it
        self.size: tuple[int, int] | None = tuple(facts["size"]) if facts["size"] else None
        self.width = int(facts["width"])
        self.mean = nn.Buffer(_channels(facts["mean"]), persistent=False)
        self.std = nn.Buffer(_channels(facts["std"]), persistent=False)

    @classmethod
    def built(cls, facts: Mapping[str, Any]) -> Backbone:
        """With weights drawn anew. Raises BundleError for what is no backbone."""
        need("pretrained", "transformers", WHERE, "a pretrained backbone is read by transformers")
        from transformers import AutoConfig, AutoModel

        config = dict(facts["config"])
        kind = config.pop("model_type", None)
        if kind not in KINDS:
            raise BundleError(f"the image backbone is of the kind `{kind}`", why=f"known: {', '.join(KINDS)}")
        with _quiet():
            return cls(AutoModel.from_config(AutoConfig.for_model(kind, **config)).float(), facts)

    def forward(self, x: Tensor) -> Tensor:
        """Ink [pictures, 1, height, width], 0 is white → [pictures, width]."""
        white = 1 - x
        if self.size and tuple(x.shape[2:]) != self.size:
            white = interpolate(white, self.size, mode="bilinear", antialias=True, align_corners=False)
        states = self.model(pixel_values=(white - self.mean) / self.std).last_hidden_state
        return states.mean(1) if states.ndim == 3 else states.mean((2, 3))

    @torch.no_grad()
    def encoded(self, pixels: Tensor) -> Tensor:
        """What it says of pictures as it stands: uint8 [pictures, height, width] → float32 [pictures, width]."""
        device = next(self.parameters()).device
        out = torch.empty(len(pixels), self.width)
        for start in range(0, len(pixels), _GROUP):
            group = pixels[start : start + _GROUP].to(device)
            out[start : start + _GROUP] = self((1 - group.float() / 255)[:, None]).cpu()
        return out

    def digest(self) -> str:
        """SHA-256 of facts and weights."""
        found = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode())
        for name, one in self.state_dict().items():
            found.update(name.encode())
            found.update(one.detach().cpu().contiguous().numpy().data)
        return found.hexdigest()


def _channels(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None]


def read(name: str) -> Backbone:
    """A backbone of a folder, or by its name on the hub: from this machine's disk if it is there, else fetched.

    Raises ConfigError where there is none, or one that is not taken.
    """
    need("pretrained", "transformers", WHERE, "a pretrained backbone is read by transformers")
    from transformers import AutoModel

    folder = _folder(name)
    config, found = _json(folder / "config.json"), _json(folder / "preprocessor_config.json")
    kind = config.get("model_type")
    if kind not in KINDS:
        raise ConfigError(
            f"`{name}` is no backbone for pictures that is known here"
            + (f": its kind is `{kind}`" if kind else ""),
            where=WHERE,
            fix=f"one of the kinds {', '.join(KINDS)}",
        )
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            model, loaded = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except Exception as error:  # whatever a foreign file makes a parser raise
        raise ConfigError(
            f"the backbone `{name}` cannot be read",
            where=WHERE,
            why=str(error).splitlines()[0],
            fix="a folder with config.json and model.safetensors; other files of weights are not taken",
        ) from None
    missing = sorted(one for one in loaded["missing_keys"] if not one.startswith("pooler."))
    if missing:
        raise ConfigError(
            f"the backbone `{name}` lacks {len(missing)} of its weights, `{missing[0]}` first",
            where=WHERE,
            fix="weights that were saved together with their config.json",
        )
    return _described(model.eval(), found)


def _described(model: Any, found: Mapping[str, Any]) -> Backbone:
    """With the size and scale that it was trained on; found: what its preprocessor's file says."""
    config = json.loads(model.config.to_json_string())
    channels = int(config.get("num_channels", 3))
    size = found.get("size", found.get("crop_size", config.get("image_size")))
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        size = [size.get("height", edge), size.get("width", edge)]
    elif isinstance(size, int):
        size = [size, size]
    mean, std = (found.get(key, usual) for key, usual in (("image_mean", _MEAN), ("image_std", _STD)))
    facts = {"config": config, "size": size and [int(one) for one in size], "width": 1}
    facts |= {"mean": list(mean)[:channels], "std": list(std)[:channels]}
    backbone = Backbone(model, facts)
    height, width = backbone.size or (64, 64)
    with torch.no_grad():
        backbone.width = backbone(torch.zeros(1, 1, height, width)).shape[1]
    backbone.facts["width"] = backbone.width
    return backbone


def _folder(name: str) -> Path:
    """Where a backbone lies on this machine; it is fetched from the hub if it does not."""
    own = Path(name).expanduser()
    if own.is_dir():
        return own
    if own.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        near = [str(one) for one in own.parent.iterdir() if one.is_dir()] if own.parent.is_dir() else []
        fix = (
            did_you_mean(name, near)
            if near
            else "a folder with config.json and model.safetensors, or owner/name"
        )
        raise ConfigError(f"there is no folder `{name}`", where=WHERE, fix=fix)
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = list(_FILES)
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise ConfigError(
            f"`{name}` is neither a folder nor a name on the hub", where=WHERE, fix="owner/name, or a path"
        ) from None
    try:
        HfApi().model_info(name, timeout=_SECONDS)  # asks once; the download would ask again and again
        return Path(snapshot_download(name, allow_patterns=patterns))
    except HfHubHTTPError as error:
        raise ConfigError(
            f"the model hub does not give `{name}`", where=WHERE, why=str(error).splitlines()[0],
            fix="check the name; `backbone: null` trains a small network from scratch",
        ) from None  # fmt: skip
    except Exception as error:  # whatever a network makes its libraries raise
        raise ConfigError(
            f"the backbone `{name}` is not on this machine, and the model hub is out of reach",
            where=WHERE,
            why=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}",
            fix="download it elsewhere and give its folder's path; `backbone: null` trains a small network from scratch",
        ) from None


def _json(path: Path) -> dict[str, Any]:
    """What a file says; {} where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"`{path}` is not readable JSON", where=WHERE, why=str(error)) from None
    return found if isinstance(found, dict) else {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's bars and reports of what it loads; what is missing is judged here."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
