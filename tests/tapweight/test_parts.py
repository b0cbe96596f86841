"""Walks over modules: what they find, and that one is made once inside `unchanged` and anew outside."""

import torch
from torch import nn

from tapweight import parts


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)


def test_what_is_found_is_what_torch_finds():
    module = Tied()
    with parts.unchanged():
        for _ in range(2):
            assert parts.parameters_of(module) == dict(module.named_parameters())
            assert parts.parameters_by_any_name(module) == dict(module.named_parameters(remove_duplicate=False))
            assert parts.tied_names(module) == {"second.weight": "first.weight"}
            assert parts.buffers_of(module) == dict(module.named_buffers())
            assert parts.modules_of(module) == list(module.modules())
            assert list(parts.trainable(module)) == ["first.weight", "first.bias", "norm.weight", "norm.bias"]
            assert parts.devices_of(module) == []
    assert parts.devices_of(module.to("meta")) == [torch.device("meta")]


def test_a_tree_is_walked_once_inside_and_anew_outside(monkeypatch):
    module, walks = Tied(), []
    own = nn.Module.named_parameters
    monkeypatch.setattr(nn.Module, "named_parameters", lambda self, *a, **k: walks.append(1) or own(self, *a, **k))
    with parts.unchanged():
        first = parts.parameters_of(module)
        with parts.unchanged():  # an estimator inside another's
            assert parts.parameters_of(module) is first
        assert parts.parameters_of(module) is first
    assert walks == [1]
    module.extra = nn.Parameter(torch.zeros(1))
    assert "extra" in parts.parameters_of(module)
    with parts.unchanged():
        assert "extra" in parts.parameters_of(module)


def test_a_module_that_is_gone_lends_its_number_to_nobody():
    with parts.unchanged():
        for width in range(1, 20):
            assert parts.parameters_of(nn.Linear(width, 1))["weight"].shape == (1, width)


def test_what_is_frozen_inside_is_seen():
    module = Tied()
    with parts.unchanged():
        assert "first.bias" in parts.trainable(module)
        module.first.bias.requires_grad_(False)
        assert "first.bias" not in parts.trainable(module)
