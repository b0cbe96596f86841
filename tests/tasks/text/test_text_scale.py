"""Labels of texts in any unit: what is learned, and its score, follow the unit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpo_bench.data.text_table import TextSplits
from hpo_bench.tasks.metrics import METRICS
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.task import build_task
from tests.tasks.text.conftest import table


@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (1.0, 1e8), (1e39, 0.0), (1e-140, 0.0)])
def test_a_score_follows_the_scale_of_the_labels(factor, offset, bert, tokeniser):
    def solved(factor, offset):
        parts = [table(rows, seed, "regression") for rows, seed in ((60, 1), (20, 2), (20, 3))]
        splits = TextSplits(*(replace(part, labels=factor * part.labels + offset) for part in parts))
        task = build_task("mine", splits, load_base(bert), tokeniser, metric="pearson_spearman", tokens=32).task
        features = torch.randn(len(task.train), 5, generator=torch.Generator().manual_seed(0))
        weight, bias = task.solve_probe(features, task.train.labels)
        outputs = features @ weight.T + bias
        scores, labels = task.decode(outputs).numpy(), task.train.labels.numpy()
        rmse, correlation = METRICS["rmse"].compute(scores, labels), METRICS["pearson_spearman"].compute(scores, labels)
        return np.array([rmse / factor, correlation, float(task.task_loss(outputs, task.train.labels))])

    np.testing.assert_allclose(solved(factor, offset), solved(1.0, 0.0), rtol=1e-5)
