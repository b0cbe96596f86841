"""Hidden attributes: `atom` and `bond`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES, Feature
from hpo_bench.tasks.molecule.objectives.base import MASKED, CorpusData, Embedded, Hidden, MoleculeBatch, Objective
from hpo_bench.tasks.objective import CLEAN, entropy, linear_head, log_shares, wide

MASK_RATE = 0.15
_LEFT_OUT = -100  # the target that cross-entropy leaves out


class Attributes(Objective):
    """Predict categories that the masked view hides; the cross-entropies of `predicted` features are summed."""

    views = (MASKED,)
    features: tuple[Feature, ...]
    predicted: tuple[str, ...]

    def __init__(self, corpus: CorpusData) -> None:
        super().__init__(corpus)
        values, totals = self.codes()
        self.columns = [i for i, feature in enumerate(self.features) if feature.name in self.predicted]
        self.sizes = [self.features[i].size - 1 for i in self.columns]  # MASK is no answer
        self.values = values[:, self.columns].clone()
        for position, size in enumerate(self.sizes):
            self.values[-1, position] = size - 1  # the MASK row: never a target, kept in range
        counts = [
            torch.zeros(size, dtype=torch.float64, device=totals.device).index_add(0, column, totals)
            for size, column in zip(self.sizes, self.values.unbind(1), strict=True)
        ]
        self.baseline_loss = sum(entropy(count) for count in counts)
        self.bias = torch.cat([log_shares(count) for count in counts]).cpu()

    def codes(self) -> tuple[Tensor, Tensor]:
        """Categories behind each code (codes, features) and how often each code occurs (codes,)."""
        raise NotImplementedError

    def build_head(self, width: int) -> nn.Module:
        return linear_head(width, self.bias)

    def hidden_loss(self, logits: Tensor, codes: Tensor, hidden: Hidden | None) -> Tensor:
        """Mean over hidden things of the summed cross-entropies; 0 if nothing is hidden."""
        if not len(codes):
            return wide(logits).sum()  # of no rows: zero, with a gradient of zero
        parts, targets = wide(logits).split(self.sizes, dim=1), self.values.index_select(0, codes).unbind(1)
        if hidden is None:
            losses = [F.cross_entropy(part, target) for part, target in zip(parts, targets, strict=True)]
            return torch.stack(losses).sum()
        real = hidden.real > 0
        known = [torch.where(real, target, _LEFT_OUT) for target in targets]
        sums = [F.cross_entropy(part, target, reduction="sum") for part, target in zip(parts, known, strict=True)]
        return torch.stack(sums).sum() / real.sum().clamp(min=1).to(sums[0].dtype)


class MaskedAtoms(Attributes):
    """Predict the element of hidden atoms from their embedding; `choose_atoms` hides about 15 %, one at least."""

    name = "atom"
    paper = "attribute masking, Hu et al. 2020, arXiv 1905.12265"
    features = ATOM_FEATURES
    predicted = ("element",)

    def codes(self) -> tuple[Tensor, Tensor]:
        return self.corpus.packed.atom_values, self.corpus.packed.atom_totals

    def loss(self, head: nn.Module, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        nodes, atoms = encoded[MASKED].nodes, batch.masked_atoms
        rows = nodes.index_select(0, atoms) if batch.atoms is None else batch.atoms.rows.sums(nodes)
        return self.hidden_loss(head(rows), batch.views[CLEAN].atom_code.index_select(0, atoms), batch.atoms)

    def terms(self, batch: MoleculeBatch) -> int | Tensor:
        return len(batch.masked_atoms) if batch.atoms is None else batch.atoms.real.sum()


class MaskedBonds(Attributes):
    """Predict type and stereo of hidden bonds from the sum of their two atoms; the bonds of hidden atoms are hidden."""

    name = "bond"
    paper = "edge attribute masking, Hu et al. 2020, arXiv 1905.12265"
    features = BOND_FEATURES
    predicted = ("type", "stereo")

    def codes(self) -> tuple[Tensor, Tensor]:
        return self.corpus.packed.bond_values, self.corpus.packed.bond_totals

    def loss(self, head: nn.Module, encoded: Mapping[str, Embedded], batch: MoleculeBatch) -> Tensor:
        graphs, nodes, edges = batch.views[CLEAN], encoded[MASKED].nodes, batch.masked_edges
        if batch.bonds is not None:
            ends = batch.bonds.rows.sums(nodes)
        else:
            ends = nodes.index_select(0, graphs.source.index_select(0, edges)) + nodes.index_select(
                0, graphs.destination.index_select(0, edges)
            )
        return self.hidden_loss(head(ends), graphs.bond_code.index_select(0, edges), batch.bonds)

    def terms(self, batch: MoleculeBatch) -> int | Tensor:
        return len(batch.masked_edges) if batch.bonds is None else batch.bonds.real.sum()
