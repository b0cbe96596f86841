"""Drawings: what they show, how they are kept, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpo_bench.errors import UserError
from hpo_bench.tasks.image.packed import MEAN, STD, PackedImages
from hpo_bench.tasks.image.render import check_size, content_key, render, render_chunk
from hpo_bench.tasks.image.stored import stored


def test_a_drawing_is_that_of_rdkit_at_the_asked_size():
    from rdkit import Chem
    from rdkit.Chem import Draw

    picture = render(["CCO"], 48)
    assert (picture.shape, picture.dtype) == ((1, 3, 48, 48), np.uint8)
    grid = Draw.MolsToGridImage([Chem.MolFromSmiles("CCO")], molsPerRow=1, subImgSize=(48, 48)).convert("RGB")
    np.testing.assert_array_equal(picture[0].transpose(1, 2, 0), np.asarray(grid))
    red, _, blue = picture[0].astype(int)
    assert ((red > 200) & (blue < 100)).any(), "oxygen is red"
    assert (picture[0, :, 0] == 255).all(), "the margin is white"


def test_molecules_are_drawn_once(monkeypatch):
    first = render(["CCO", "CCN"], 32)
    monkeypatch.setattr("hpo_bench.tasks.image.render.render_chunk", None)
    np.testing.assert_array_equal(first, render(["CCO", "CCN"], 32))
    keys = {content_key(*arguments) for arguments in ((["CCO"], 32), (["CCO"], 64), (["OCC"], 32), (["CC", "O"], 32))}
    assert len(keys) == 4


def test_processes_draw_what_one_draws(smiles):
    many = smiles * 4
    assert len(many) > 200
    np.testing.assert_array_equal(render(many, 32, workers=2)[100:160], render_chunk(many[100:160], 32))


def test_a_string_that_is_no_molecule_is_named():
    with pytest.raises(ValueError, match=r"'C\(' \(row 1\)"):
        render(["CC", "C("], 32)


@pytest.mark.parametrize("size", [31, 513, 64.0, "big", None])
def test_sizes_that_cannot_be_drawn_are_user_errors(size):
    with pytest.raises(UserError, match="image_size"):
        check_size(size)


def test_a_torn_cache_file_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_BENCH_CACHE", str(tmp_path))
    calls = []

    def compute():
        calls.append(1)
        return np.arange(3)

    stored("some", "key", compute)
    stored("some", "key", compute)
    assert len(calls) == 1
    (tmp_path / "some" / "key.npz").write_bytes(b"PK torn")
    with pytest.warns(UserWarning, match="computing it again"):
        np.testing.assert_array_equal(stored("some", "key", compute), np.arange(3))
    assert len(calls) == 2
    files = sorted(file.name for file in (tmp_path / "some").iterdir())
    assert files == ["key.npz", "key.npz.sha256"], "nothing is left aside"


def test_packed_images_are_bytes_and_batches_are_standardised():
    pictures = np.random.default_rng(0).integers(256, size=(5, 3, 32, 32), dtype=np.uint8)
    packed = PackedImages(pictures)
    assert packed.pixels.dtype == torch.uint8
    batch = packed.batch(torch.tensor([3, 1]))
    expected = (pictures[[3, 1]] / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-5)
