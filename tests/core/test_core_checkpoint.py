import errno
import os
import resource
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpo_bench.core.checkpoint import load_state, save_state, write_whole
from hpo_bench.errors import UserError


@contextmanager
def full_disk():
    """No file may grow beyond 4 KiB inside the block (a whole test would be too long: pytest may log into a file)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def adam():
    """A model and an optimiser that has moments."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.randn(5, 4)).square().mean().backward()
    optimizer.step()
    return model, optimizer


def test_a_nested_state_comes_back_bit_identical(tmp_path, adam, same_state):
    model, optimizer = adam
    state = {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "list": [torch.tensor(float("nan")), {"deep": torch.arange(3)}, None, "text", 0.1 + 0.2],
        "kinds": {
            "half": torch.randn(2, 3).bfloat16(),
            "flags": torch.tensor([True, False]),
            "empty": torch.zeros(0, 4),
            "scalar": torch.tensor(7, dtype=torch.int64),
            "strided": torch.randn(4, 6).T,
        },
        7: "an integer key",
    }
    save_state(tmp_path / "state.safetensors", state)
    back = load_state(tmp_path / "state.safetensors")
    nan = back["list"].pop(0), state["list"].pop(0)
    assert torch.isnan(nan[0])
    assert same_state(back, state)
    assert set(back["optimizer"]["state"]) == {0, 1}
    for name, tensor in state["kinds"].items():
        assert back["kinds"][name].dtype == tensor.dtype


def test_an_optimiser_goes_on_as_if_nothing_had_happened(tmp_path, adam):
    model, optimizer = adam
    save_state(tmp_path / "s", {"model": dict(model.state_dict()), "optimizer": optimizer.state_dict()})
    back = load_state(tmp_path / "s")
    other = torch.nn.Linear(4, 3)
    again = torch.optim.Adam(other.parameters(), lr=0.5)
    other.load_state_dict(back["model"])
    again.load_state_dict(back["optimizer"])
    x = torch.randn(5, 4)
    for net, steps in ((model, optimizer), (other, again)):
        steps.zero_grad()
        net(x).square().mean().backward()
        steps.step()
    assert torch.equal(model.weight, other.weight)
    assert torch.equal(model.bias, other.bias)


def test_names_that_look_alike_are_kept_apart(tmp_path):
    one, zero, two = torch.ones(1), torch.zeros(1), torch.full((1,), 2.0)
    save_state(tmp_path / "s", {"a": {"b": one}, "a/b": zero, 1: two, "1": one})
    back = load_state(tmp_path / "s")
    assert [back["a"]["b"].item(), back["a/b"].item(), back[1].item(), back["1"].item()] == [1, 0, 2, 1]


STATE = {"weights": torch.arange(6.0).reshape(2, 3), "step": 12, "more": [torch.ones(2, dtype=torch.int32)]}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "state.safetensors"
    save_state(path, STATE)
    return path.read_bytes(), path


@given(data=st.data())
def test_a_flipped_bit_anywhere_is_noticed(written, data):
    content, path = written
    place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    path.with_name("flipped").write_bytes(bytes(damaged))
    with pytest.raises(UserError, match="flipped"):
        load_state(path.with_name("flipped"))


@given(data=st.data())
def test_a_file_cut_short_is_noticed(written, data):
    content, path = written
    path.with_name("cut").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(UserError, match="cut"):
        load_state(path.with_name("cut"))


def test_a_missing_file_is_named_with_a_remedy(tmp_path):
    with pytest.raises(UserError, match="nothing-here") as caught:
        load_state(tmp_path / "nothing-here")
    assert "run the same command again" in caught.value.remedy


def test_a_stranger_s_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.ones(2)}, tmp_path / "stranger")
    with pytest.raises(UserError, match="stranger"):
        load_state(tmp_path / "stranger")


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, same_state):
    path = tmp_path / "state"
    save_state(path, STATE)
    with full_disk(), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        save_state(path, {"weights": torch.randn(10_000)})
    assert same_state(load_state(path), STATE)
    assert os.listdir(tmp_path) == ["state"]


def test_a_write_below_a_regular_file_fails(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError):  # noqa: PT011 (NotADirectoryError or FileExistsError)
        write_whole(tmp_path / "file" / "state", b"x")
    assert (tmp_path / "file").read_text() == "here"


def test_a_write_replaces_the_whole_file(tmp_path):
    write_whole(tmp_path / "new" / "folder" / "file", b"a long first content")
    write_whole(tmp_path / "new" / "folder" / "file", b"short")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"short"
    assert os.listdir(tmp_path / "new" / "folder") == ["file"]
