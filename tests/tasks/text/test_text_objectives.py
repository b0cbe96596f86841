"""Each objective's views and targets, checked against what its definition says."""

import pytest
import torch
from torch.nn import functional as F

from hpo_bench.errors import UserError
from hpo_bench.tasks.objective import on_any_corpus, select
from hpo_bench.tasks.text.corpus import TextCorpus
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.objectives import OBJECTIVES
from tests.tasks.text.conftest import load, sentences

ALL = on_any_corpus(OBJECTIVES)


@pytest.fixture(scope="module")
def corpus(bert, tokeniser):
    return TextCorpus(sentences(400, 0, 20), load_base(bert), tokeniser, objectives=ALL)


@pytest.fixture
def batch(corpus, generator):
    return corpus.draw_batch(300, generator)


def at(tensor, positions):
    return tensor.flatten()[positions]


def test_mlm_hides_fifteen_per_cent_of_each_text_eighty_ten_ten(corpus, batch):
    clean, view, targets = batch.views["clean"], batch.views["mlm"], batch.targets["mlm"]
    positions = targets["positions"]
    chosen = torch.zeros_like(clean.content).flatten().index_fill(0, positions, True).view_as(clean.content)
    assert not (chosen & ~clean.content).any(), "no special token is ever hidden"
    assert torch.equal(chosen.sum(1), (0.15 * clean.content.sum(1)).round().clamp(min=1).long())
    assert torch.equal(targets["ids"], at(clean.ids, positions))
    assert torch.equal(view.ids[~chosen], clean.ids[~chosen])
    shown, mask = at(view.ids, positions), 4
    assert abs((shown == mask).float().mean() - 0.8) < 0.07
    kept = (shown == targets["ids"]).float().mean()
    assert abs(kept - 0.1 - 0.1 / 20) < 0.06
    assert (shown >= mask).all(), "a random token is an ordinary one, not CLS or SEP"


def test_span_hides_whole_stretches(batch):
    clean, view, positions = batch.views["clean"], batch.views["span"], batch.targets["span"]["positions"]
    hidden = torch.zeros_like(clean.content).flatten().index_fill(0, positions, True).view_as(clean.content)
    assert torch.equal(hidden, (view.ids == 4)), "all that is hidden shows the mask"
    assert not (hidden & ~clean.content).any()
    assert hidden.any(1).all(), "every text has one at least"
    rate = hidden.sum() / clean.content.sum()
    assert 0.12 < rate < 0.3, "about 15 per cent; short texts raise it, as one span is the least"
    starts = hidden & ~F.pad(hidden, (1, 0))[:, :-1]
    assert hidden.sum() / starts.sum() > 1.8, "stretches, not single tokens"
    assert torch.equal(at(clean.ids, positions), batch.targets["span"]["ids"])


def test_sop_swaps_the_halves_of_half_of_the_texts(corpus, batch):
    clean, view, swapped = batch.views["clean"], batch.views["sop"], batch.targets["sop"]["swapped"].bool()
    assert 0.4 < swapped.float().mean() < 0.6
    for row in range(20):
        words = clean.ids[row][clean.content[row]].tolist()
        half = len(words) // 2
        a, b = words[:half], words[half:]
        expected = [1, *b, 2, *a, 2] if swapped[row] else [1, *a, 2, *b, 2]
        assert view.ids[row, : view.sizes[row]].tolist() == expected
        assert view.types[row, : view.sizes[row]].sum() == len(a if swapped[row] else b) + 1


def test_rtd_replaces_by_what_follows_the_predecessor_somewhere(corpus, batch):
    clean, view, targets = batch.views["clean"], batch.views["rtd"], batch.targets["rtd"]
    changed = view.ids != clean.ids
    assert 0.05 < changed.sum() / clean.content.sum() <= 0.16
    assert torch.equal(targets["replaced"].bool(), at(changed, targets["positions"]))
    assert len(targets["positions"]) == clean.content.sum()
    stream = corpus.packed.ids.tolist()
    pairs = set(zip(stream, stream[1:] + stream[:1], strict=True))
    for row, place in changed.nonzero().tolist():
        if place > 1:  # the first word follows CLS, of which the corpus has none
            assert (int(clean.ids[row, place - 1]), int(view.ids[row, place])) in pairs


def test_contrast_is_the_loss_of_simcse(corpus, batch):
    model = corpus.build_model().train()
    torch.manual_seed(0)
    found = corpus.objective_losses(model, batch)[ALL.index("contrast")]
    names = list(batch.views)
    torch.manual_seed(0)
    hidden = dict(zip(names, model.encoder(list(batch.views.values())), strict=True))
    one, two = (
        model.heads["contrast"](model.encoder.pool(hidden[name], batch.views[name]))
        for name in ("clean", "clean again")
    )
    assert not torch.allclose(one, two), "dropout makes them differ"
    similarity = torch.stack([F.cosine_similarity(row[None], two) for row in one]) / 0.05
    expected = -similarity.log_softmax(1).diagonal().mean() / torch.log(torch.tensor(float(len(one))))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_one_view_is_encoded_once_whoever_reads_it(corpus, batch, monkeypatch):
    assert sorted(batch.views) == sorted(["mlm", "clean", "clean again", "sop", "rtd", "span"])
    model, rows = corpus.build_model(), []
    forward = type(model.encoder).forward
    monkeypatch.setattr(
        type(model.encoder), "forward", lambda self, views: rows.append(sum(map(len, views))) or forward(self, views)
    )
    corpus.objective_losses(model, batch)
    assert rows == [6 * 300]


def test_the_texts_of_a_step_do_not_depend_on_the_objectives(corpus, bert, tokeniser):
    fewer = TextCorpus(sentences(400, 0, 20), load_base(bert), tokeniser, objectives=("sop",))
    draws = [one.draw_batch(32, torch.Generator().manual_seed(5)).index for one in (corpus, fewer)]
    assert torch.equal(*draws)


def test_fresh_heads_start_near_chance(corpus, batch):
    losses = corpus.objective_losses(corpus.build_model().eval(), batch)
    for name in ("sop", "rtd", "noise"):
        assert 0.6 < losses[ALL.index(name)] < 1.6, name


def test_names_of_objectives():
    with pytest.raises(UserError, match="Did you mean 'mlm'"):
        select(OBJECTIVES, ["mml"])
    with pytest.raises(UserError, match="twice"):
        select(OBJECTIVES, ["mlm", "mlm"])


@pytest.mark.parametrize("kind", ["regression", "binary", "classes"])
def test_single_texts_can_be_planted_with_what_their_labels_allow(kind, bert, tokeniser):
    if kind != "binary":  # pairs: their sentences have no labels of their own
        with pytest.raises(UserError, match="oracle cannot be planted"):
            load(kind, bert, tokeniser, objectives=("mlm", "oracle"))
        return
    task = load(kind, bert, tokeniser, objectives=("noise", "harmful", "oracle")).task
    losses = task.objective_losses(task.build_model(), task.draw_batch(8, torch.Generator().manual_seed(0)))
    assert losses.isfinite().all()
    assert task.corpus._objectives[2].labels.shape == (len(task.corpus), task.outputs)
