import torch

from hpo_bench.core.rng import derive_seed, generator, seed_generators, seeded

CPU = torch.device("cpu")


def test_a_name_gives_the_same_seed_in_every_process_and_version():
    assert derive_seed(7, "pretraining", 12) == 2_952_975_356_946_576_719


def test_seeds_fit_a_generator_and_differ_by_seed_and_by_name():
    names = [("a",), ("b",), ("a", 0), ("a", 1), ("a", 10), ("a", "b"), ("b", "a")]
    seeds = [derive_seed(seed, *name) for seed in (0, 1, 10) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_of_one_name_draw_the_same_and_of_two_names_do_not():
    draws = [torch.rand(5, generator=generator(CPU, 0, name)) for name in ("x", "x", "y")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_seeded_draws_by_name_and_restores_the_global_generator():
    torch.manual_seed(3)
    untouched = torch.rand(4)
    torch.manual_seed(3)
    with seeded(0, "head"):
        first = torch.rand(4)
    assert torch.equal(torch.rand(4), untouched)
    with seeded(0, "head"):
        assert torch.equal(torch.rand(4), first)


def test_seeded_restores_after_an_error():
    before = torch.get_rng_state()
    try:
        with seeded(0, "head"):
            torch.rand(1)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_seeding_is_torchs_own():
    seed_generators(5)
    found = torch.rand(4)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(4), found)
