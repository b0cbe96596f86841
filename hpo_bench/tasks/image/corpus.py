"""An unlabelled corpus of drawings with its objectives: all that continued pretraining on images needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Pretrainable
from hpo_bench.tasks.image.checkpoint import ImageBase
from hpo_bench.tasks.image.encoder import RESNET18, Encoder
from hpo_bench.tasks.image.objectives import DEFAULT_OBJECTIVES, CorpusData, ImageBatch, select
from hpo_bench.tasks.image.objectives.clusters import Clusters
from hpo_bench.tasks.image.packed import PackedImages
from hpo_bench.tasks.image.render import PUBLISHED_SIZE, content_key, render
from hpo_bench.tasks.image.views import CLEAN, JIGSAW, MASKED, augment, draw_choices, hide_square, shuffle_tiles
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.corpus import seeded

_SPREAD_SAMPLE = 64  # molecules whose distances give the base's scale


class ImageModel(nn.Module):
    """`encoder` and `heads`, one head per objective."""

    def __init__(self, encoder: Encoder, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = heads


class ImageCorpus(Pretrainable):
    """Drawn molecules without labels, the model, and the vector of losses.

    Args:
        smiles: the corpus; RDKit must accept every string.
        objectives: names from `objectives.OBJECTIVES`.
        size: side of the drawings in pixels.
        encoder: arguments of `encoder.Encoder` (default: ResNet-18); with a base, the base's own.
        base: an encoder to start from; None starts from scratch.
        seed: decides fresh initialisations and k-means.
        packed: the drawings, if the caller has them.

    Three views at most, each a pass of its own through the encoder: the augmented drawing, the same with its tiles
    shuffled (all MG3C, JPP and MRD share it), and the same with a square hidden.
    """

    def __init__(
        self,
        smiles: Sequence[str],
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        *,
        size: int = PUBLISHED_SIZE,
        encoder: dict[str, Any] | None = None,
        base: ImageBase | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
        packed: PackedImages | None = None,
    ) -> None:
        kinds = select(tuple(objectives))
        self.objectives = tuple(objectives)
        self.device = torch.device(device)
        self.seed = seed
        self.base = base
        if base is not None and encoder is not None and encoder != base.encoder_config:
            raise UserError(f"the base's encoder is {base.encoder_config}, not {encoder}", "leave the encoder out")
        self.encoder_config = dict(base.encoder_config if base else encoder or RESNET18)
        self.data_hash = content_key(smiles, size)
        self.packed = packed if packed is not None else PackedImages(render(smiles, size), self.device)
        maccs = featurise(smiles, ("maccs",)).maccs
        self._encoder_state = self._start()
        data = CorpusData(maccs, self.device, seed, self._spread)
        self._objectives = [kind(data) for kind in kinds]
        self._chance = torch.tensor([kind.chance for kind in self._objectives], device=self.device)
        self._views = [view for view in (CLEAN, JIGSAW, MASKED) if any(view in kind.views for kind in kinds)]

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def embedding_width(self) -> int:
        return int(self.encoder_config["widths"][-1])

    @property
    def clusters(self) -> dict[str, int]:
        """How many clusters each objective on clusters has: fewer than wanted where there are fewer molecules."""
        return {kind.name: kind.classes for kind in self._objectives if isinstance(kind, Clusters)}

    @property
    def chances(self) -> dict[str, float]:
        """The unit of each objective's loss."""
        return {kind.name: kind.chance for kind in self._objectives}

    @property
    def metadata(self) -> dict[str, Any]:
        """What `save_base` must be told about a model of this corpus; losses and steps may be added."""
        return {
            "encoder": self.encoder_config,
            "objectives": list(self.objectives),
            "image_size": self.packed.size,
            "seed": self.seed,
            "molecules": len(self),
            "data_hash": self.data_hash,
        }

    def build_model(self) -> ImageModel:
        """A fresh copy of the base on the device: bit-identical at every call."""
        width = self.embedding_width
        heads = {
            kind.name: seeded(lambda k=kind: k.build_head(width), self.seed, kind.name) for kind in self._objectives
        }
        return ImageModel(self._encoder(), nn.ModuleDict(heads)).to(self.device)

    def draw_batch(self, size: int, generator: torch.Generator) -> ImageBatch:
        """`size` different molecules (all of them, if the corpus is smaller), augmented, and their views.

        The generator must live on the corpus's device. Every choice is drawn whatever the objectives, so a step's
        molecules and augmentations do not depend on them.
        """
        return self.batch_at(torch.randperm(len(self), generator=generator, device=self.device)[:size], generator)

    def batch_at(self, index: Tensor, generator: torch.Generator) -> ImageBatch:
        choices = draw_choices(len(index), self.packed.size, generator)
        image = augment(self.packed.colours(index), choices)
        views: dict[str, Tensor] = {}
        for view in self._views:
            if view == JIGSAW:
                views[view] = shuffle_tiles(image, choices.order)
            else:
                views[view] = hide_square(image, choices.corner) if view == MASKED else image
            views[view] = self.packed.standardise(views[view])
        return ImageBatch(index, choices.order, views)

    def objective_losses(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        """Losses (K,) in the order of `objectives`, each about 1 for an objective that has learned nothing."""
        embedded = {view: model.encoder(batch.views[view]) for view in self._views}  # type: ignore[operator]
        heads = model.heads
        losses = [kind.loss(heads[kind.name], embedded, batch) for kind in self._objectives]  # type: ignore[index, arg-type]
        # One division by a tensor: by a number, a forward-mode tangent would turn into float64.
        return torch.stack(losses) / self._chance

    def _start(self) -> dict[str, Tensor]:
        """The encoder's weights that every model starts from."""
        if self.base is not None:
            return self.base.state
        fresh = seeded(lambda: Encoder(**self.encoder_config), self.seed, "encoder")
        return {name: value.clone() for name, value in fresh.state_dict().items()}

    def _encoder(self) -> Encoder:
        encoder: Encoder = seeded(lambda: Encoder(**self.encoder_config), self.seed, "encoder")
        encoder.load_state_dict(self._encoder_state)
        return encoder

    def _spread(self) -> float:
        """Mean distance between the base encoder's embeddings of two different molecules, under batch statistics."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        index = torch.randperm(len(self), generator=generator, device=self.device)[:_SPREAD_SAMPLE]
        if len(index) < 2:
            return 0.0
        image = augment(self.packed.colours(index), draw_choices(len(index), self.packed.size, generator))
        with torch.no_grad():
            embedded = self._encoder().to(self.device).train()(self.packed.standardise(image))
        apart = torch.nn.functional.pdist(embedded.double().cpu())
        return float(np.mean(apart.numpy()))
