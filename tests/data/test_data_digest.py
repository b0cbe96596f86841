import hashlib

import numpy as np

from hpo_bench.data.digest import digest_of


def test_lists_do_not_run_together():
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"])
    assert digest_of(["a"], ["b"]) != digest_of(["a", "b"])
    assert digest_of([], ["a"]) != digest_of(["a"], [])


def test_arrays_know_their_shape_and_type():
    flat = np.arange(6, dtype=np.int64)
    assert digest_of(flat) != digest_of(flat.reshape(2, 3))
    assert digest_of(flat) != digest_of(flat.astype(np.float64))


def test_the_order_of_bytes_does_not_matter():
    numbers = np.array([1.5, -2.0, np.nan])
    assert digest_of(numbers.astype(">f8")) == digest_of(numbers.astype("<f8"))


def test_is_sha256_of_what_it_says():
    said = b"strings 1\n" + (2).to_bytes(8, "little") + b"CC"
    assert digest_of(["CC"]) == hashlib.sha256(said).hexdigest()


def test_takes_a_lone_surrogate():
    assert digest_of(["\ud800"]) != digest_of(["\ud801"])
