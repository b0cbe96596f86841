"""What is finished is shown again where nothing can be written, and what cannot be written is told."""

from pathlib import Path

import pytest

from tests.permissions import read_only


def everything():
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*")}


@pytest.mark.parametrize("verb", ["landscape", "fidelity", "transfer"])
def test_it_is_printed_and_nothing_is_touched(invoke, verb):
    words = ["--seeds", 2, *(["-e", "equal", "-e", "none"] if verb == "fidelity" else [])]
    code, first, err = invoke(verb, *words)
    assert code == 0, err
    before = everything()
    with read_only(Path()):
        code, again, err = invoke(verb, *words)
    assert (code, again) == (0, first), err
    assert everything() == before
    table = Path(verb) / "quadratic" / ("landscape.csv" if verb == "landscape" else f"{verb}.json")
    table.write_text("of another version")
    with read_only(Path()):
        code, again, err = invoke(verb, *words)
    assert (code, again) == (2, first), "it is printed all the same"
    assert f"error: cannot write {table}: Permission denied\nchoose a folder" in err
    with read_only(Path()):
        code, again, err = invoke(verb, "--seeds", 3, *words[2:])
    assert (code, again) == (2, ""), "there is something to train"
    assert "error: cannot write" in err
