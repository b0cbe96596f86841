"""An unlabelled corpus with its objectives: all that continued pretraining needs, and all that making a base needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.errors import UserError
from hpo_bench.tasks.corpus import Corpus
from hpo_bench.tasks.molecule.assembled import Lots, Needs, assembled, quotas
from hpo_bench.tasks.molecule.cache import content_key, featurise
from hpo_bench.tasks.molecule.checkpoint import Base, load_base
from hpo_bench.tasks.molecule.featurise import MoleculeArrays
from hpo_bench.tasks.molecule.gin import Encoder
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, CorpusData, MoleculeBatch
from hpo_bench.tasks.molecule.objectives.base import MASKED, Embedded
from hpo_bench.tasks.molecule.objectives.masking import MASK_RATE
from hpo_bench.tasks.molecule.packed import Graphs, PackedMolecules, joined
from hpo_bench.tasks.molecule.padded import Sizes, common_sizes, trimmed
from hpo_bench.tasks.molecule.refinement import Refinement
from hpo_bench.tasks.molecule.targets import Statistics
from hpo_bench.tasks.objective import CLEAN, Truth, seeded, select
from hpo_bench.tasks.sending import bounds, sent

STANDARD_ENCODER: dict[str, Any] = {"layers": 3, "width": 64, "dropout": 0.0, "expansion": 2}
_SIZE_SAMPLE = 24  # batches by which the common size of batches is found


class MoleculeCorpus(Corpus):
    """Molecules without labels, the model, and the vector of losses.

    Args:
        smiles: the corpus; RDKit must accept every string.
        objectives: names from `objectives.OBJECTIVES`.
        encoder: arguments of `gin.Encoder`; with a base, the base's own (giving others is an error).
        base: a base checkpoint to start from; None starts from scratch, with `statistics` fitted on this corpus.
        seed: decides fresh initialisations, k-means and the labels of `noise`.
        molecules: the featurised corpus with the targets that `targets_of` names, if the caller has it.
        truth: the task's labels of the corpus, if it has any: for planted objectives.
        refine: let a layer work on one atom of each class of equal surroundings (`refinement`).

    The views pass through the encoder together, but batch norm takes the statistics of each alone: hidden and whole
    molecules mixed, an objective's loss would depend on which other objectives are on.
    """

    def __init__(
        self,
        smiles: Sequence[str],
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        *,
        encoder: dict[str, Any] | None = None,
        base: str | Path | Base | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
        clusters: int = 100,
        molecules: MoleculeArrays | None = None,
        packed: PackedMolecules | None = None,
        truth: Truth | None = None,
        refine: bool = True,
    ) -> None:
        kinds, device = select(OBJECTIVES, objectives), torch.device(device)
        self.base = load_base(base) if isinstance(base, str | Path) else base
        self.encoder_config = self._encoder_config(encoder)
        self.data_hash = content_key(smiles)
        molecules = molecules if molecules is not None else featurise(smiles, targets_of(objectives))
        self.statistics = self.base.statistics if self.base else Statistics.fit(molecules, clusters, seed)
        self.packed = packed if packed is not None else PackedMolecules(molecules, device)
        data = CorpusData(
            size=len(self.packed),
            device=device,
            seed=seed,
            truth=truth,
            molecules=molecules,
            packed=self.packed,
            statistics=self.statistics,
        )
        # Dropout inside the encoder tells equal atoms apart.
        self.refinement = Refinement(int(self.encoder_config["layers"]), refine and not self.encoder_config["dropout"])
        encoder_ = seeded(lambda: Encoder(**self.encoder_config), seed, "encoder")
        width = int(self.encoder_config["width"])  # of atom and molecule embeddings
        made = [kind(data) for kind in kinds]
        super().__init__(made, encoder_, width, size=len(self.packed), device=device, seed=seed)
        self._needs_mask = any(MASKED in kind.views for kind in kinds)
        self._known_sizes: dict[int, Sizes] = {}
        if self.base is not None:
            self._base.load_state_dict(self._start(self.base))

    @property
    def metadata(self) -> dict[str, Any]:
        """What `save_base` must be told about a model of this corpus; losses and steps may be added."""
        return {
            "encoder": self.encoder_config,
            "objectives": list(self.objectives),
            "seed": self.seed,
            "molecules": len(self),
            "data_hash": self.data_hash,
        }

    @property
    def _views(self) -> list[str]:
        """What goes through the encoder, in this order."""
        return [view for view in (MASKED, CLEAN) if view in self.read]

    @property
    def draws_on(self) -> torch.device:
        """The processor, also for an accelerator: a seed means the same batch on every device."""
        return torch.device("cpu")

    def batch_at(self, index: Tensor, generator: torch.Generator) -> MoleculeBatch | Lots:
        return self._placed(index, self._draw_lots(index, generator))

    def draw_parts(self, size: int, most: int, generator: torch.Generator) -> list[MoleculeBatch | Lots]:
        index = self.draw_rows(size, generator)
        lots, atoms = self._draw_lots(index, generator), self.packed.host.atoms_of(index)
        cuts = bounds(len(index), most)
        each = lots.split([int(atoms[start:end].sum()) for start, end in cuts] if len(lots) else [0] * len(cuts))
        return [self._placed(index[start:end], own) for (start, end), own in zip(cuts, each, strict=True)]

    def _draw_lots(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """A number for each atom of the molecules `index`, by which atoms are hidden; none where nothing is hidden."""
        atoms = int(self.packed.host.atoms_of(index).sum()) if self._needs_mask else 0
        return torch.rand(atoms, generator=generator)

    def _placed(self, index: Tensor, lots: Tensor) -> MoleculeBatch | Lots:
        """The batch ready for the encoder; for an accelerator what the host draws of it, sent there."""
        if not self.packed.in_order:
            return self.ready(self._batch(index, lots))
        need, usual = self._needs.of(index), self._sizes(len(index))
        sizes = usual if usual.hold(need) else need.rounded()
        padded = F.pad(lots, (0, sizes.atoms - need.atoms)) if self._needs_mask else None
        return sent(Lots(index.int(), padded, sizes), self.device)

    @cached_property
    def _needs(self) -> Needs:
        return Needs(self.packed, MASK_RATE)

    def _sizes(self, size: int) -> Sizes:
        """With room for nearly every batch of `size`, by a sample that is the same in every process."""
        if size not in self._known_sizes:
            sources = (torch.Generator().manual_seed(seed) for seed in range(_SIZE_SAMPLE))
            draws = (torch.randperm(len(self), generator=source)[:size] for source in sources)
            self._known_sizes[size] = common_sizes(self._needs.of(index) for index in draws)
        return self._known_sizes[size]

    def ready(self, batch: MoleculeBatch) -> MoleculeBatch:
        """The batch with its views joined for the encoder."""
        return replace(batch, joint=self.refinement(self._joined(batch)))

    def _joined(self, batch: MoleculeBatch) -> Graphs:
        return joined([batch.views[view] for view in self._views])

    def batch_of(self, index: Tensor, generator: torch.Generator) -> MoleculeBatch:
        """The molecules `index` (B,) and their masks, on the processor and not yet `ready` for the encoder."""
        return self._batch(index, self._draw_lots(index, generator))

    def _batch(self, index: Tensor, lots: Tensor) -> MoleculeBatch:
        clean = self.packed.host.batch(index)
        if not self._needs_mask:
            nothing = index.new_zeros(0)
            return MoleculeBatch(index, {CLEAN: clean}, nothing, nothing)
        atoms = choose_atoms(clean, lots)
        hidden = torch.zeros(clean.num_atoms, dtype=torch.bool)
        hidden[atoms] = True
        edges = hidden.index_select(0, clean.source) | hidden.index_select(0, clean.destination)
        one_way = edges & (clean.source < clean.destination)
        views = {CLEAN: clean, MASKED: clean.masked(hidden, edges)}
        return MoleculeBatch(index, views, atoms, one_way.nonzero().squeeze(1))

    def whole(self, batch: MoleculeBatch | Lots) -> MoleculeBatch:
        """The batch itself, put together from its lots on an accelerator."""
        return assembled(batch, self.packed, MASK_RATE) if isinstance(batch, Lots) else batch

    def terms(self, batch: MoleculeBatch | Lots) -> Tensor:
        return super().terms(self.whole(batch))

    def objective_losses(self, model: nn.Module, batch: MoleculeBatch | Lots) -> Tensor:
        """Losses (K,) in the order of `objectives`, each about 1 for the best constant predictor."""
        batch = self.whole(batch)
        if not model.training and not torch.is_grad_enabled():
            batch = trimmed(batch)  # so that FLOPs are counted as on a processor
        joint = self._joined(batch) if batch.joint is None else batch.joint
        each = model.encoder.each(joint)  # type: ignore[operator, union-attr]
        embedded = {view: Embedded(*both) for view, both in zip(self._views, each, strict=True)}
        return self.losses_of(model.get_submodule("heads"), embedded, batch)

    @property
    def fresh_heads(self) -> tuple[str, ...]:
        """Objectives that the base was not trained on: their heads start from the seed."""
        return tuple(name for name in self.objectives if self.base is None or name not in self.base.objectives)

    def _encoder_config(self, given: dict[str, Any] | None) -> dict[str, Any]:
        if self.base is None:
            return {**STANDARD_ENCODER, **(given or {})}
        config = self.base.encoder_config
        other = {key: value for key, value in (given or {}).items() if config.get(key) != value and key != "dropout"}
        if other:
            raise UserError(f"the base checkpoint's encoder is {config}, not {other}", "leave the encoder's shape out")
        return {**config, **(given or {})}

    def _start(self, base: Base) -> dict[str, Tensor]:
        """The state that every model starts from: the base's, heads that the base lacks from the seed."""
        state = self._base.state_dict()
        fresh = tuple(f"heads.{name}." for name in self.fresh_heads)
        unused = tuple(f"heads.{name}." for name in base.objectives if name not in self.objectives)
        expected = {name for name in state if not name.startswith(fresh)}
        given = {name: value for name, value in base.state.items() if not name.startswith(unused)}
        wrong = sorted(name for name in expected & set(given) if given[name].shape != state[name].shape)
        problems = {
            "missing": sorted(expected - set(given)),
            "unexpected": sorted(set(given) - expected),
            "misshapen": wrong,
        }
        if any(problems.values()):
            listed = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
            raise UserError(f"the base checkpoint does not fit the model ({listed})", "make the base again")
        return {**state, **given}


def targets_of(objectives: Sequence[str]) -> tuple[str, ...]:
    """The kinds of targets that the objectives read: nothing else is computed."""
    return tuple({kind: None for one in select(OBJECTIVES, objectives) for kind in one.targets})


def choose_atoms(graphs: Graphs, lots: Tensor, rate: float = MASK_RATE) -> Tensor:
    """Atoms to hide, ascending: in a molecule of n atoms, 1 + floor(rate x n) of them, but never more than n.

    They are those of the smallest `lots` (N,), numbers from [0, 1).
    """
    # In float64 the sum is exact: rounded up, an atom could slip into the next molecule.
    key = graphs.molecule.double() + lots
    order = key.argsort(stable=True)  # molecules stay in order, atoms within a molecule are shuffled
    sizes = graphs.sizes.squeeze(1)
    first = sizes.cumsum(0) - sizes
    rank = torch.arange(graphs.num_atoms, device=order.device) - first.index_select(0, graphs.molecule)
    quota = quotas(sizes, rate)
    return order[rank < quota.index_select(0, graphs.molecule)].sort().values
