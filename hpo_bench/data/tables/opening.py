"""From the bytes of a file to its text: unpacked (gzip, xz, bzip2, a zip of one file) and decoded (UTF-8, UTF-16)."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from hpo_bench.errors import UserError

_UNPACK = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"\xfd7zXZ": ("xz", lzma.decompress),
    b"BZh": ("bzip2", bz2.decompress),
}
_FOREIGN = {
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF",
}
_PACKED_SUFFIXES = (".gz", ".xz", ".bz2", ".zip")
BREAK = re.compile(r"\r\n|\n|\r")  # what ends a line of a file; str.splitlines also ends one at U+2028 and the like
# UTF-32's mark begins with UTF-16's, so it comes first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Opened:
    """A file as text.

    Attributes:
        name: in small letters without `.gz` and the like, so that its end tells the format.
        text: without a byte order mark.
        sha256: of the file's bytes as they are on disk.
    """

    path: Path
    name: str
    text: str
    sha256: str

    def lines(self) -> list[str]:
        """The text's lines, as an editor counts them."""
        lines = BREAK.split(self.text)
        return lines if lines[-1] else lines[:-1]


def read_text(path: str | Path) -> Opened:
    """A whole file as text.

    Raises:
        UserError: no such file, not readable, broken or foreign packing, several files in a zip, not UTF-8,
            a NUL, a web page.
    """
    path = Path(path).expanduser()
    content = _read_bytes(path)
    name = path.name.casefold()
    while name.endswith(_PACKED_SUFFIXES):
        name = name.rpartition(".")[0]
    plain, member = _unpack(path, content)
    if member:
        name = member.casefold()
    return Opened(path, name, _decode(path, plain), hashlib.sha256(content).hexdigest())


def _read_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise UserError(f"{path} is no ordinary file.", "Write its content into a file, and name that.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.", f"Paths are taken from {Path.cwd()}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a file that you may read.") from error
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{str(path)!r} cannot be read: {error}.", "Name a file that you may read.") from error


def _unpack(path: Path, content: bytes) -> tuple[bytes, str]:
    """The bytes inside, and the name of a zip's one member ("" elsewhere)."""
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _unzip(path, content)
    for magic, (what, unpack) in _UNPACK.items():
        if content.startswith(magic):
            try:
                content = unpack(content)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
                raise UserError(f"{path} is a broken {what} file: {error}.", "Copy or download it again.") from error
            if content.startswith((*_UNPACK, b"PK\x03\x04")):
                raise UserError(f"{path} is packed twice.", f"Unpack the {what} file, and name what was in it.")
            break
    if content[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive.", "Unpack it, and name the table in it.")
    for magic, what in _FOREIGN.items():
        if content.startswith(magic):
            raise UserError(f"{path} is {what}, which is not read here.", "Save it as CSV in UTF-8 (.csv or .csv.gz).")
    return content, ""


def _unzip(path: Path, content: bytes) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if _is_content(name)]
            if "[Content_Types].xml" in names:
                raise UserError(f"{path} is an Excel workbook or the like.", "Save the sheet as CSV in UTF-8.")
            if len(names) != 1:
                shown = ", ".join(names[:5]) or "none"
                raise UserError(
                    f"{path} holds {len(names)} files ({shown}).", "Put one table into a zip, or unpack it."
                )
            return archive.read(names[0]), names[0].rpartition("/")[2]
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise UserError(f"{path} is a broken zip file: {error}.", "Copy or download it again.") from error
    except (RuntimeError, NotImplementedError) as error:  # a password; a way of packing that Python lacks
        raise UserError(f"{path} cannot be unzipped: {error}.", "Unpack it, and name the table.") from error


def _is_content(name: str) -> bool:
    return not name.endswith("/") and not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith(".")


def _is_prose(content: bytes) -> bool:
    """May bytes be a text in some old encoding? There is hardly a control character in one."""
    head = content[:65536]
    return sum(byte < 32 and byte not in b"\t\n\r\f\v" for byte in head) <= len(head) / 100


def _decode(path: Path, content: bytes) -> str:
    encoding = next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8" and not _is_prose(content):
            raise UserError(
                f"{path} is no text: it holds bytes that no letter is written with.",
                "Is it the right file? Save the table as CSV in UTF-8 (.csv or .csv.gz).",
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        plain = not path.name.casefold().endswith(_PACKED_SUFFIXES)
        how = f", for example: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv" if plain else ""
        message = f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8."
        if not encoding.startswith("utf-8"):
            message = f"{path}, line {line}: this is not {encoding.upper()}, as its first bytes say: {error.reason}."
            raise UserError(message, "Was it cut short? Copy it again, or save it as UTF-8.") from error
        raise UserError(message, f"Save it as UTF-8{how}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(
            f"{path}, line {line}: there is a NUL character.", "Is it UTF-16 without its mark? Save it as UTF-8."
        )
    if text.lstrip()[:9].casefold().startswith(("<!doctype", "<html", "<?xml")):
        raise UserError(f"{path} holds HTML or XML.", "Was a page downloaded in place of the file?")
    if re.search(r"^M  END\s*$", text, re.MULTILINE):
        raise UserError(f"{path} is an SD file or a molfile.", "Write it as a table with SMILES (RDKit can).")
    return text.lstrip("\ufeff")  # two marks: a tool marked a marked file
