"""What every task must do.

A plug-in author inherits the whole suite:

class TestMyTask(TaskContract):
    @pytest.fixture
    def loaded(self):
        return my_task(device=torch.device("cpu"))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpo_bench.core.adaptation import predict
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.micro_batches import MicroBatches, objective_losses
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import generator, seeded
from hpo_bench.tasks.base import LoadedTask, Task
from hpo_bench.testing.devices import irreproducible_refused
from hpo_bench.testing.reach import reachable_tensors, shares_storage


class TaskContract:
    """Supply the fixture `loaded`; `batch_size` may be lowered for a costly task."""

    batch_size = 16

    @pytest.fixture
    def loaded(self) -> LoadedTask:
        raise NotImplementedError("supply a fixture `loaded`")

    @pytest.fixture
    def task(self, loaded: LoadedTask) -> Task:
        return loaded.task

    def draw(self, task: Task, *names: str | int) -> Any:
        return task.draw_batch(self.batch_size, generator(task.draws_on, 0, "contract", *names))

    def losses(self, task: Task, model: nn.Module, batch: Any) -> Tensor:
        with seeded(0, "contract-dropout"):
            return task.objective_losses(model, batch)

    def test_describes_itself(self, task: Task) -> None:
        assert task.name
        assert task.base_id
        assert len(task.objectives) >= 1
        assert len(set(task.objectives)) == task.num_objectives

    def test_names_its_content(self, loaded: LoadedTask) -> None:
        assert {"table", "split", "corpus"} <= loaded.content.keys()
        assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in loaded.content.values())

    def test_notices_are_sentences(self, loaded: LoadedTask) -> None:
        assert all(notice.strip() for notice in loaded.notices)

    def test_splits_hold_labels(self, loaded: LoadedTask) -> None:
        for split in (loaded.task.train, loaded.task.valid, loaded.test):
            assert len(split) > 0
            assert split.labels.shape == (len(split), loaded.task.outputs)
            assert split.labels.dtype in (torch.float32, torch.float64)
            assert not torch.isinf(split.labels).any()

    def test_holds_no_test_labels(self, loaded: LoadedTask) -> None:
        tensors = list(reachable_tensors(loaded.task))
        assert any(shares_storage(loaded.task.train.labels, tensor) for tensor in tensors)
        assert not any(shares_storage(loaded.test.labels, tensor) for tensor in tensors)

    def test_the_base_is_always_the_same(self, task: Task) -> None:
        torch.manual_seed(1)
        first = task.build_model().state_dict()
        torch.manual_seed(2)
        second = task.build_model().state_dict()
        _assert_equal(first, second)

    def test_building_leaves_the_global_generator_alone(self, task: Task) -> None:
        before = torch.get_rng_state()
        task.build_model()
        self.draw(task)
        assert torch.equal(before, torch.get_rng_state())

    def test_training_a_copy_leaves_the_base_as_it_was(self, task: Task) -> None:
        before = {key: value.clone() for key, value in task.build_model().state_dict().items()}
        model = task.build_model().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            optimizer.zero_grad()
            self.losses(task, model, self.draw(task, step)).sum().backward()
            optimizer.step()
        assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())
        _assert_equal(before, task.build_model().state_dict())

    def test_a_batch_depends_on_its_generator_alone(self, task: Task) -> None:
        model = task.build_model().eval()
        torch.manual_seed(1)
        first = self.losses(task, model, self.draw(task))
        torch.manual_seed(2)
        np.random.seed(2)  # noqa: NPY002 (the global generator is what must not matter)
        assert torch.equal(first, self.losses(task, model, self.draw(task)))
        others = [self.losses(task, model, self.draw(task, step)) for step in range(3)]
        assert any(not torch.equal(first, other) for other in others), "another seed gives another batch"

    def test_a_batch_in_parts_is_the_batch(self, task: Task) -> None:
        """In evaluation mode, since batch norm and dropout see a part; without objectives that compare rows."""
        sources = [generator(task.draws_on, 0, "contract") for _ in range(2)]
        whole = task.draw_batch(self.batch_size, sources[0])
        parts = MicroBatches(tuple(task.draw_parts(self.batch_size, 5, sources[1])))
        assert len(parts.parts) > 1
        own = [i for i, name in enumerate(task.objectives) if name not in task.compares_rows]
        found = []
        for batch in (whole, parts):
            model = task.build_model().eval()
            losses = objective_losses(task, model, batch)[own]
            losses.sum().backward()
            found.append((losses.detach(), [p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        (losses, gradients), (same, others) = found
        assert torch.allclose(losses, same, rtol=1e-4, atol=1e-6)
        gradient, other = torch.cat(gradients), torch.cat(others)
        assert float((gradient - other).norm()) <= 1e-3 * float(gradient.norm())

    def test_losses_are_one_finite_number_each(self, task: Task) -> None:
        losses = self.losses(task, task.build_model().train(), self.draw(task))
        assert losses.shape == (task.num_objectives,)
        assert torch.isfinite(losses).all()

    def test_every_objective_has_a_gradient(self, task: Task) -> None:
        model = task.build_model().train()
        for objective in range(task.num_objectives):
            model.zero_grad()
            self.losses(task, model, self.draw(task))[objective].backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(torch.isfinite(gradient).all() for gradient in gradients)
            assert any(gradient.abs().max() > 0 for gradient in gradients), task.objectives[objective]

    def test_the_same_seed_gives_the_same_bits(self, task: Task) -> None:
        """Continued pretraining, fine-tuning and scores, twice on the device that the task lies on."""
        with irreproducible_refused(task.device):
            first, second = self._trained(task), self._trained(task)
        _assert_equal(first, second)

    def _trained(self, task: Task) -> dict[str, Tensor]:
        protocol = Protocol(batch_size=self.batch_size, adapt_batch_size=self.batch_size)
        meter = CostMeter(self.batch_size, task.device)
        pretrainer = Pretrainer(task, protocol, 0, meter)
        weights = torch.full((task.num_objectives,), 1 / task.num_objectives, device=task.device)
        for step in range(4):
            losses = pretrainer.step(weights, pretrainer.draw_batch(step))
        tuner = FineTuner(task, protocol, pretrainer.model.get_submodule("encoder"), 0, meter)
        for step in range(3):
            tuner.step(tuner.draw_batch(step))
        scores = torch.from_numpy(predict(task, tuner.model, task.valid, meter))
        return {"losses": losses, "scores": scores, **pretrainer.model.state_dict(), **tuner.model.state_dict()}

    def test_embeds_rows_of_a_split(self, task: Task) -> None:
        encoder = task.build_model().encoder
        assert isinstance(encoder, nn.Module)
        encoder.eval()
        for split in (task.train, task.valid):
            rows = torch.arange(min(7, len(split)), device=task.device)
            with torch.no_grad():
                embedded = task.embed(encoder, split.inputs, rows)
                one = task.embed(encoder, split.inputs, rows[-1:])
            assert embedded.shape == (len(rows), task.embedding_width)
            assert torch.isfinite(embedded).all()
            assert torch.allclose(embedded[-1:].float(), one.float(), rtol=1e-3, atol=1e-4), "rows do not mix"

    def test_missing_labels_are_left_out(self, task: Task) -> None:
        labels = task.train.labels[:8].clone()
        outputs = torch.linspace(-1, 1, labels.numel(), device=task.device).reshape(labels.shape).requires_grad_()
        labels[1::2] = float("nan")
        loss = task.task_loss(outputs, labels)
        assert loss.shape == ()
        if torch.isnan(labels[::2]).all():
            pytest.skip("the first rows have no labels at all")
        assert torch.allclose(loss, task.task_loss(outputs[::2], labels[::2]))
        loss.backward()
        assert outputs.grad is not None
        assert torch.isfinite(outputs.grad).all()
        assert (outputs.grad[1::2] == 0).all()

    def test_a_batch_without_labels_is_no_accident(self, task: Task) -> None:
        outputs = torch.zeros(4, task.outputs, device=task.device, requires_grad=True)
        loss = task.task_loss(outputs, torch.full_like(outputs, float("nan")))
        assert torch.isfinite(loss)

    def test_decodes_to_what_the_metric_expects(self, loaded: LoadedTask) -> None:
        task = loaded.task
        with torch.no_grad():
            draw = generator(task.device, 0, "contract")
            outputs = torch.randn(len(task.valid), task.outputs, generator=draw, device=task.device)
        scores = task.decode(outputs)
        assert scores.shape == outputs.shape
        assert torch.isfinite(scores).all()
        assert math.isfinite(task.metric.compute(scores.cpu().numpy(), task.valid.labels.cpu().numpy()))

    def test_the_probe_is_solved(self, task: Task) -> None:
        encoder = task.build_model().encoder
        assert isinstance(encoder, nn.Module)
        encoder.eval()
        rows = torch.arange(len(task.train), device=task.device)
        with torch.no_grad():
            parts = [task.embed(encoder, task.train.inputs, part) for part in rows.split(256)]
        features = torch.cat(parts).float()
        weight, bias = task.solve_probe(features, task.train.labels)
        assert weight.shape == (task.outputs, task.embedding_width)
        assert bias.shape == (task.outputs,)
        assert torch.isfinite(weight).all()
        again, _ = task.solve_probe(features, task.train.labels)
        assert torch.equal(weight, again)
        zero = task.task_loss(torch.zeros_like(task.train.labels), task.train.labels)
        assert task.task_loss(features @ weight.T + bias, task.train.labels) <= zero + 1e-4

    def test_the_probe_is_differentiable_in_the_features(self, task: Task) -> None:
        """Against central differences: a solver under `no_grad` turns the hypergradient of a probe elsewhere."""
        encoder = task.build_model().encoder
        assert isinstance(encoder, nn.Module)
        encoder.eval()
        rows = torch.arange(len(task.train), device=task.device)[:200]
        with torch.no_grad():
            features = task.embed(encoder, task.train.inputs, rows).double()
        labels = task.train.labels[rows]
        draw = generator(task.device, 0, "contract", "probe")
        features = features + 0.1 * features.std() * torch.randn(features.shape, generator=draw, device=task.device)
        along = torch.randn(features.shape, generator=draw, device=task.device).to(features) * features.std()
        reader = torch.randn(task.outputs, task.embedding_width + 1, generator=draw, device=task.device).to(features)

        scale = features.std()

        def read(at: Tensor) -> Tensor:
            weight, bias = task.solve_probe(at, labels)
            return (torch.cat([weight * scale, bias[:, None]], dim=1) * reader).sum()

        leaf = features.clone().requires_grad_()
        value = read(leaf)
        assert value.requires_grad, "solve_probe leads nowhere: is it under no_grad, or detached?"
        (gradient,) = torch.autograd.grad(value, leaf)
        step = 1e-4
        with torch.no_grad():
            expected = float(read(features + step * along) - read(features - step * along)) / (2 * step)
        slack = 1e-6 * abs(float(value.detach())) + 1e-9
        assert float((gradient * along).sum()) == pytest.approx(expected, rel=1e-3, abs=slack)


def _assert_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]), key
