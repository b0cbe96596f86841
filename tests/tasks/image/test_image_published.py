"""Files in ImageMol's published layout: names, shapes, and what the loaded network computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hpo_bench.errors import UserError
from hpo_bench.tasks.image import load_published
from hpo_bench.tasks.image.checkpoint import load_base, save_base
from hpo_bench.tasks.image.encoder import Encoder
from hpo_bench.tasks.image.load import choose_base

HEADS = {
    "jigsaw_classifier": 101,
    "class_classifier1": 100,
    "class_classifier2": 1000,
    "class_classifier3": 10000,
}


def norm(state, name, width, draw):
    state[f"{name}.weight"] = 0.5 + torch.rand(width, generator=draw)
    state[f"{name}.bias"] = 0.1 * torch.randn(width, generator=draw)
    state[f"{name}.running_mean"] = 0.1 * torch.randn(width, generator=draw)
    state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=draw)
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def convolution(state, name, out, into, side, draw):
    state[f"{name}.weight"] = torch.randn(out, into, side, side, generator=draw) * (2 / (out * side**2)) ** 0.5


def published(prefix=""):
    """The tensors of class ImageMol in the order in which torch writes them, with random values."""
    draw = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    convolution(state, "embedding_layer.0", 64, 3, 7, draw)
    norm(state, "embedding_layer.1", 64, draw)
    into = 64
    for child, width in ((4, 64), (5, 128), (6, 256), (7, 512)):
        for block in (0, 1):
            name = f"embedding_layer.{child}.{block}"
            convolution(state, f"{name}.conv1", width, into, 3, draw)
            norm(state, f"{name}.bn1", width, draw)
            convolution(state, f"{name}.conv2", width, width, 3, draw)
            norm(state, f"{name}.bn2", width, draw)
            if block == 0 and child > 4:
                convolution(state, f"{name}.downsample.0", width, into, 1, draw)
                norm(state, f"{name}.downsample.1", width, draw)
            into = width
    norm(state, "bn", 512, draw)
    for head, classes in HEADS.items():
        state[f"{head}.weight"] = torch.randn(classes, 512, generator=draw)
        state[f"{head}.bias"] = torch.randn(classes, generator=draw)
    return {prefix + name: tensor for name, tensor in state.items()}


def reference(state, images):
    """torchvision's ResNet-18 without its classifier, in evaluation mode, written out."""

    def normed(name, x):
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, training=False)

    x = F.conv2d(images, state["embedding_layer.0.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(normed("embedding_layer.1", x)), 3, stride=2, padding=1)
    for child in (4, 5, 6, 7):
        for block in (0, 1):
            name = f"embedding_layer.{child}.{block}"
            stride = 2 if block == 0 and child > 4 else 1
            y = F.relu(normed(f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)))
            y = normed(f"{name}.bn2", F.conv2d(y, state[f"{name}.conv2.weight"], padding=1))
            if stride == 2:
                x = normed(f"{name}.downsample.1", F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2))
            x = F.relu(x + y)
    return x.mean((2, 3))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "ImageMol.pth.tar"
    torch.save({"arch": "ResNet18", "state_dict": published()}, path)
    return path


def test_no_encoder_key_is_missing_and_heads_are_left_out(file):
    assert len([name for name in published() if name.startswith("embedding_layer")]) == 120
    base = load_published(file)
    assert base.report["missing"] == []
    assert base.report["loaded"] == 120 == len(base.state)
    heads = [f"{head}.{part}" for head in HEADS for part in ("bias", "weight")]
    norms = [f"bn.{part}" for part in ("bias", "num_batches_tracked", "running_mean", "running_var", "weight")]
    assert base.report["unexpected"] == sorted(heads + norms)
    Encoder(**base.encoder_config).load_state_dict(base.state)  # strict


def test_the_network_computes_what_torchvision_would(file):
    base = load_published(file)
    encoder = Encoder(**base.encoder_config)
    encoder.load_state_dict(base.state)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = encoder.eval()(images), reference(published(), images)
    assert found.shape == (2, 512)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_parallel_model_and_torchvisions_own_names_are_read_as_well(file, tmp_path):
    expected = load_published(file).state
    torch.save({"state_dict": published("module.")}, tmp_path / "parallel.pth")
    children = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    plain = {}
    for name, tensor in published().items():
        if name.startswith("embedding_layer."):
            _, child, rest = name.split(".", 2)
            plain[f"{children[child]}.{rest}"] = tensor
    torch.save(plain, tmp_path / "plain.pth")
    for other in ("parallel.pth", "plain.pth"):
        state = load_published(tmp_path / other).state
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_files_without_counts_of_batches_are_whole(tmp_path):
    old = {name: tensor for name, tensor in published().items() if "num_batches" not in name}
    torch.save({"state_dict": old}, tmp_path / "old.pth")
    base = load_published(tmp_path / "old.pth")
    assert base.report["missing"] == []
    Encoder(**base.encoder_config).load_state_dict(base.state)


class Trap:
    """Unpickled without care, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_malformed_files_are_user_errors(tmp_path, file):
    def refused(name, content, said):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(UserError, match=said):
            load_published(path)

    refused("none.pth", None, "there is no checkpoint")
    refused("text.pth", b"hello", "cannot be read")
    refused("empty.pth", b"", "cannot be read")
    refused("torn.pth", file.read_bytes()[:5000], "cannot be read")
    refused("trap.pth", {"state_dict": Trap(tmp_path / "sprung")}, "cannot be read")
    assert not (tmp_path / "sprung").exists()
    refused("list.pth", [1, 2], "no state_dict")
    refused("numbers.pth", {"state_dict": {"a": 1}}, "no state_dict")
    refused("other.pth", {"state_dict": {"layer.weight": torch.zeros(2)}}, "lacks .* and 92 more")
    state = published()
    state["embedding_layer.0.weight"] = torch.zeros(64, 1, 7, 7)
    refused("grey.pth", {"state_dict": state}, "other shapes for resnet.embedder.embedder.convolution.weight")


def test_our_own_base_comes_back(tmp_path):
    narrow = {"widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    encoder = Encoder(**narrow)
    digest = save_base(tmp_path / "base.safetensors", encoder, {"encoder": narrow, "seed": 0})
    base = choose_base(str(tmp_path / "base.safetensors"), None)
    assert (base.sha256, base.encoder_config) == (digest, narrow)
    assert all(torch.equal(base.state[name], tensor) for name, tensor in encoder.state_dict().items())
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for path in (tmp_path / "junk.safetensors", tmp_path / "nowhere.safetensors"):
        with pytest.raises(UserError, match="pretrain-base"):
            load_base(path)


def test_two_sources_of_weights_are_one_too_many(file):
    with pytest.raises(UserError, match="both"):
        choose_base("a", str(file))
    assert choose_base(None, None) is None
    assert choose_base("none", None) is None


def test_what_was_left_out_is_said(file, capsys):
    choose_base(None, str(file))
    told = capsys.readouterr().err
    assert "120 encoder tensors loaded; missing: 0; unexpected, left out: bn.bias" in told
