"""An unlabelled corpus of drawings with its objectives: all that continued pretraining on images needs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.errors import UserError
from hpo_bench.tasks.corpus import Corpus
from hpo_bench.tasks.image.checkpoint import ImageBase
from hpo_bench.tasks.image.encoder import RESNET18, Encoder
from hpo_bench.tasks.image.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, CorpusData, ImageBatch
from hpo_bench.tasks.image.objectives.clusters import Clusters
from hpo_bench.tasks.image.packed import PackedImages
from hpo_bench.tasks.image.render import PUBLISHED_SIZE, content_key, render
from hpo_bench.tasks.image.views import JIGSAW, MASKED, augment, draw_choices, hide_square, shuffle_tiles
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.objective import CLEAN, Truth, seeded, select

_SPREAD_SAMPLE = 64  # molecules whose distances give the base's scale


class ImageCorpus(Corpus):
    """Drawn molecules without labels, the model, and the vector of losses.

    Args:
        smiles: the corpus; RDKit must accept every string.
        objectives: names from `objectives.OBJECTIVES`.
        size: side of the drawings in pixels.
        encoder: arguments of `encoder.Encoder` (default: ResNet-18); with a base, the base's own.
        base: an encoder to start from; None starts from scratch.
        seed: decides fresh initialisations and k-means.
        packed: the drawings, if the caller has them.
        truth: the task's labels of the corpus, if it has any: for planted objectives.

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
        truth: Truth | None = None,
    ) -> None:
        kinds, device = select(OBJECTIVES, objectives, "objective on images"), torch.device(device)
        self.base = base
        if base is not None and encoder is not None and encoder != base.encoder_config:
            raise UserError(f"the base's encoder is {base.encoder_config}, not {encoder}", "leave the encoder out")
        self.encoder_config = dict(base.encoder_config if base else encoder or RESNET18)
        self.data_hash = content_key(smiles, size)
        self.packed = packed if packed is not None else PackedImages(render(smiles, size), device)
        start: Encoder = seeded(lambda: Encoder(**self.encoder_config), seed, "encoder")
        if base is not None:
            start.load_state_dict(base.state)
        data = CorpusData(
            size=len(self.packed),
            device=device,
            seed=seed,
            truth=truth,
            maccs=cache(lambda: featurise(smiles, ("maccs",)).maccs),
            spread=lambda: spread_of(start, self.packed, seed),
        )
        made, width = [kind(data) for kind in kinds], int(self.encoder_config["widths"][-1])
        super().__init__(made, start, width, size=len(self.packed), device=device, seed=seed)

    @property
    def _views(self) -> list[str]:
        return [view for view in (CLEAN, JIGSAW, MASKED) if view in self.read]

    @property
    def clusters(self) -> dict[str, int]:
        """How many clusters each objective on clusters has: fewer than wanted where there are fewer molecules."""
        return {kind.name: kind.classes for kind in self._objectives if isinstance(kind, Clusters)}

    @property
    def baseline_losses(self) -> dict[str, float]:
        """The unit of each objective's loss."""
        return {kind.name: kind.baseline_loss for kind in self._objectives}

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

    def batch_at(self, index: Tensor, generator: torch.Generator) -> ImageBatch:
        """The molecules `index` (B,), augmented, and their views.

        Every choice is drawn whatever the objectives, so a step's augmentations do not depend on them.
        """
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
        encoder = model.get_submodule("encoder")
        return self.losses_of(
            model.get_submodule("heads"), {view: encoder(batch.views[view]) for view in self._views}, batch
        )


def spread_of(encoder: Encoder, packed: PackedImages, seed: int) -> float:
    """Mean distance between the encoder's embeddings of two different molecules, under batch statistics."""
    generator = torch.Generator(packed.device).manual_seed(seed)
    index = torch.randperm(len(packed), generator=generator, device=packed.device)[:_SPREAD_SAMPLE]
    if len(index) < 2:
        return 0.0
    image = augment(packed.colours(index), draw_choices(len(index), packed.size, generator))
    with torch.no_grad():
        embedded = copy.deepcopy(encoder).to(packed.device).train()(packed.standardise(image))
    apart = torch.nn.functional.pdist(embedded.double().cpu())
    return float(np.mean(apart.numpy()))
