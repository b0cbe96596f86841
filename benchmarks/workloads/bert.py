"""A BERT of 6 layers × 384 (the shape of MiniLM), random weights and random tokens: time does not depend on either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapweight import Finetuning, Pretraining, Probe
from workloads.base import FineTuned, Workload

TOKENS, WIDTH, MASK, MASK_RATE, TEMPERATURE = 32, 384, 103, 0.15, 0.05


def bert(device: torch.device, rows: Sequence[int] | None) -> Workload:
    """Masked tokens and sentence order in one pass of the encoder, SimCSE in two more."""
    from transformers import BertConfig, BertModel

    rows = rows or (32, 8, 8)
    config = BertConfig(hidden_size=WIDTH, num_hidden_layers=6, num_attention_heads=12, intermediate_size=4 * WIDTH)

    class Pretrained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = BertModel(config, add_pooling_layer=False)
            self.transform, self.order = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)

    def losses(module: Any, b: dict[str, Tensor]) -> Tensor:
        ids = b["ids"]
        lot = torch.rand(ids.numel(), device=device)
        hidden = lot.topk(int(MASK_RATE * ids.numel())).indices  # as many each time: a step has one shape
        h = module.encoder(ids.flatten().index_fill(0, hidden, MASK).view_as(ids)).last_hidden_state
        decoder = module.encoder.embeddings.word_embeddings.weight  # tied, as in BERT
        seen, there = h.flatten(0, 1).index_select(0, hidden), ids.flatten().index_select(0, hidden)
        mlm = F.cross_entropy(F.gelu(module.transform(seen)) @ decoder.T, there)
        order = F.cross_entropy(module.order(h[:, 0]), b["order"])
        z, y = (F.normalize(v, dim=1) for v in module.encoder(ids.repeat(2, 1)).last_hidden_state[:, 0].chunk(2))
        contrast = F.cross_entropy(z @ y.T / TEMPERATURE, torch.arange(len(z), device=device))
        return torch.stack([mlm, contrast, order])

    def embed(module: nn.Module, b: dict[str, Tensor]) -> Tensor:
        return cast(Any, module).encoder(b["ids"]).last_hidden_state[:, 0]

    def loss(module: nn.Module, b: dict[str, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(cast(Any, module).head(embed(module, b)), b["label"])

    def batch(n: int) -> dict[str, Tensor]:
        out = {
            "ids": torch.randint(1000, 30000, (n, TOKENS)),
            "order": torch.randint(2, (n,)),
            "label": torch.randint(2, (n, 1)).float(),
        }
        return {key: value.to(device) for key, value in out.items()}

    pretrained = Pretrained().to(device)
    return Workload(
        "BERT 6 × 384, masked tokens + SimCSE + sentence order",
        f"{' / '.join(map(str, rows))} sequences of {TOKENS} tokens",
        Pretraining(pretrained, losses),
        Finetuning(FineTuned(pretrained.encoder, WIDTH).to(device), loss, gamma=0.1),
        batch(rows[0]),
        batch(rows[1]),
        batch(rows[2]),
        3,
        Probe(embed, lambda b: b["label"]),
        iterations=1,
    )
