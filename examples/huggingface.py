"""Objective weights for a Hugging Face model, nothing downloaded: `python examples/huggingface.py`.

Masked language modelling and two-dropout-passes contrast (SimCSE) share one tiny BERT; needs transformers.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel

import tapweight

MASK = 3
CONFIG = BertConfig(
    vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=16,
)  # fmt: skip


class Pretrained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # The pooler is unused: left out, so that every parameter has a gradient.
        self.encoder, self.head = BertModel(CONFIG, add_pooling_layer=False), nn.Linear(32, 100)


class Tuned(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(32, 2)


def embed(model: Any, tokens: Tensor) -> Tensor:
    return model.encoder(input_ids=tokens).last_hidden_state


def losses(model: Any, tokens: Tensor) -> Tensor:
    hidden = torch.rand(tokens.shape) < 0.15  # torch's own generator: every pass sees the same mask
    states = embed(model, tokens.masked_fill(hidden, MASK))
    mlm = F.cross_entropy(model.head(states).flatten(0, 1), tokens.where(hidden, -100).flatten())
    one, two = (F.normalize(embed(model, tokens).mean(1), dim=1) for _ in range(2))  # dropout differs
    return torch.stack([mlm, F.cross_entropy(one @ two.T / 0.05, torch.arange(len(tokens)))])


def loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model.head(embed(model, batch[0]).mean(1)), batch[1])


torch.manual_seed(0)
model = Pretrained()
tuned = Tuned(copy.deepcopy(model.encoder))
tokens = torch.randint(4, 100, (64, 12))
rows = tokens, (tokens[:, 0] > 50).long()
train, valid = [tuple(part[half] for part in rows) for half in (slice(32), slice(32, None))]
weights = tapweight.ObjectiveWeights(["mlm", "contrast"])
levels = tapweight.Pretraining(model, losses), tapweight.Finetuning(tuned, loss, gamma=0.1)
adams = [torch.optim.AdamW(m.parameters(), lr=1e-3) for m in (model, tuned)]
learner = tapweight.Learner(tapweight.WeightLearner(*levels, weights), *adams)
update = None
for _ in range(30):
    update = learner.step(torch.randint(4, 100, (16, 12)), train, valid).update or update
assert update is not None
print(f"derivatives by {update.last_step};", dict(zip(weights.names, weights.values.tolist(), strict=True)))
