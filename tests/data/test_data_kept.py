"""What is kept in the cache: believed only with its SHA-256, and never a reason to stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_bench.data.kept import digest_path, kept


class Counted:
    """Something to compute, and how often that was done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return "CCO"


def get(compute: Counted) -> str:
    return kept("some", "molecules.txt", compute, str.encode, bytes.decode)


def test_is_computed_once(own_cache: Path) -> None:
    compute = Counted()
    assert [get(compute), get(compute)] == ["CCO", "CCO"]
    assert compute.times == 1
    names = sorted(file.name for file in (own_cache / "some").iterdir())
    assert names == ["molecules.txt", "molecules.txt.sha256"], "nothing is left aside"


def test_every_single_flipped_bit_is_seen(own_cache: Path) -> None:
    compute = Counted()
    get(compute)
    path = own_cache / "some" / "molecules.txt"
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="damaged cache file"):
            assert get(compute) == "CCO"
    assert compute.times == 1 + 8 * len(good)


def test_a_file_without_its_digest_is_not_believed(own_cache: Path) -> None:
    compute = Counted()
    get(compute)
    path = own_cache / "some" / "molecules.txt"
    path.write_text("CCN")
    digest_path(path).unlink()
    assert get(compute) == "CCO"


def test_a_whole_file_of_another_layout_is_made_again(own_cache: Path) -> None:
    compute = Counted()
    get(compute)

    def refuses(content: bytes) -> str:
        raise ValueError("another layout")

    with pytest.warns(UserWarning, match="another layout"):
        assert kept("some", "molecules.txt", compute, str.encode, refuses) == "CCO"


def test_a_cache_that_is_a_file_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HPO_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="nothing can be kept"):
        assert get(Counted()) == "CCO"


def test_a_cache_that_may_not_be_read_costs_a_warning(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    get(Counted())
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.warns(UserWarning, match="Permission denied"):
        assert get(Counted()) == "CCO"
