"""The modality switch: what `--encoder imagemol` loads, what it records, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

from hpo_bench.bases import molecules as maker
from hpo_bench.bases.training import Recipe
from hpo_bench.errors import UserError
from hpo_bench.tasks.image import ImageCorpus, ImageTask
from hpo_bench.tasks.image.checkpoint import load_base, save_base
from hpo_bench.tasks.image.encoder import Encoder, resnet18
from hpo_bench.tasks.molecule.load import csv
from tests.permissions import read_only

CPU = torch.device("cpu")


@pytest.fixture
def options(tmp_path, smiles):
    """Task csv with 60 molecules, every other one active."""
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["smiles,label", *(f"{text},{row % 2}" for row, text in enumerate(smiles))]))
    return {
        "device": CPU,
        "path": str(path),
        "label": ["label"],
        "kind": "classification",
        "split": "random",
        "objectives": ["cluster_100", "jigsaw"],
    }


def test_images_are_a_task_like_any_other(options, tmp_path):
    thin = resnet18(4)
    save_base(tmp_path / "thin.safetensors", Encoder(**thin), {"encoder": thin})
    loaded = csv(**options, encoder="imagemol", image_size=32, base=str(tmp_path / "thin.safetensors"))
    assert isinstance(loaded.task, ImageTask)
    assert loaded.task.objectives == ("cluster_100", "jigsaw")
    assert loaded.task.train.inputs.pixels.shape == (48, 3, 32, 32)
    assert loaded.task.base_id == load_base(tmp_path / "thin.safetensors").sha256
    assert loaded.report["encoder"] == {"name": "imagemol", "image_size": 32, **thin}
    assert loaded.report["clusters"]["cluster_100"] <= 48, "fewer molecules, fewer clusters"
    embedded = loaded.task.embed(loaded.task.build_model().encoder, loaded.test.inputs, torch.arange(3))
    assert embedded.shape == (3, 32)


def test_options_that_do_not_fit_are_user_errors(options):
    with pytest.raises(UserError, match="Did you mean 'imagemol'"):
        csv(**options, encoder="imagemoll")
    with pytest.raises(UserError, match="csv with the encoder gin has no option image_size"):
        csv(**options, image_size=64)
    with pytest.raises(UserError, match="image_size is 5"):
        csv(**options, encoder="imagemol", image_size=5)
    with pytest.raises(UserError, match="there is no checkpoint"):
        csv(**options, encoder="imagemol", image_size=32, checkpoint="nowhere.pth.tar")


def test_a_base_is_made_and_started_from(monkeypatch, tmp_path, smiles):
    monkeypatch.setattr("hpo_bench.data.load_moses", lambda count, seed: smiles[:count])
    recipe = Recipe(
        epochs=1,
        minutes=None,
        batch_size=20,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup=0,
        clip=1.0,
        precision="fp32",
        seed=0,
    )
    sizes = {"molecules": 40, "recipe": recipe, "device": "cpu"}
    out = tmp_path / "base.safetensors"
    shape = {"width": 4, "image_size": 32}
    report = maker.pretrain_base(out, encoder="imagemol", shape=shape, **sizes)
    base = load_base(out)
    assert (base.sha256, base.encoder_config) == (report["sha256"], resnet18(4))
    assert set(report["losses"]) == {"cluster_100", "cluster_1000", "cluster_10000", "jigsaw", "mask_contrast"}
    corpus = ImageCorpus(smiles, ("jigsaw",), size=32, base=base)
    weights = corpus.build_model().encoder.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in base.state.items())
    before = out.read_bytes()
    (tmp_path / "plain").write_text("")
    assert out.stat().st_mode == (tmp_path / "plain").stat().st_mode
    left = tmp_path / "base.safetensors.training"
    left.mkdir()
    (left / "plan.json").write_text(json.dumps(report["plan"]))
    again = maker.pretrain_base(out, encoder="imagemol", shape=shape, **sizes)
    assert again == {**json.loads(json.dumps(report)), "made": False}, "a finished one is not made again"
    assert not left.exists(), "a kill in its last step had left it"
    with read_only(tmp_path):
        assert maker.pretrain_base(out, encoder="imagemol", shape=shape, **sizes) == again
    with pytest.raises(UserError, match=r"a base of other settings\n.*another --out"):
        maker.pretrain_base(out, encoder="imagemol", shape=shape, **{**sizes, "molecules": 50})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already, and is no base"):
        maker.pretrain_base(tmp_path / "notes.txt", encoder="imagemol", shape=shape, **sizes)
    assert ((tmp_path / "notes.txt").read_text(), out.read_bytes()) == ("mine", before)
    with pytest.raises(UserError, match="imagemol has no layers"):
        maker.pretrain_base(out, encoder="imagemol", shape={"layers": 3}, **sizes)
