"""The text of a file, piece by piece or line by line: unpacked, decoded, and refused as soon as something is wrong.

Never more than one piece or line is held, so a file may be larger than memory. A file made to fill it (an endless line,
a few kilobytes that unpack to terabytes) is stopped on the way.
"""

from __future__ import annotations

import codecs
import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from planish.base.errors import DataError

PIECE = 1 << 18  # bytes read at once

# Characters of one record. The longest contexts hold about ten million; anything longer is a file without line ends, or
# without rows, and would fill the memory before anybody noticed.
MAX_CHARACTERS = 64_000_000

# Text compresses to a tenth or, where it repeats itself, a fiftieth. A file that unpacks to far more was made to fill a
# disk. Small files are exempt: a toy data set can be one line a million times.
UNPACKED_FREELY, MAX_RATIO = 256 << 20, 200

# First bytes of content that is not UTF-8 text, whatever the file's name; what the content is, and what to do about it.
BEGINNINGS: list[tuple[bytes, str, str]] = [
    (codecs.BOM_UTF32_LE, "UTF-32 text", "Save it as UTF-8."),
    (codecs.BOM_UTF32_BE, "UTF-32 text", "Save it as UTF-8."),
    (codecs.BOM_UTF16_LE, "UTF-16 text", "Save it as UTF-8."),
    (codecs.BOM_UTF16_BE, "UTF-16 text", "Save it as UTF-8."),
    (b"\x1f\x8b", "compressed by gzip", "Unpack it, or let its name end in .gz."),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it, or let its name end in .zst."),
    (b"BZh", "compressed by bzip2", "Unpack it."),
    (b"\xfd7zXZ\0", "compressed by xz", "Unpack it."),
    (b"PK\x03\x04", "a zip archive", "Unpack it and name a file or folder of it."),
    (b"PAR1", "a Parquet file", "Let its name end in .parquet."),
    (b"ARROW1", "an Arrow file", "Let its name end in .arrow."),
]
PACKED_BEGINNINGS = {
    ".gz": (b"\x1f\x8b",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(b"%c\x2a\x4d\x18" % at for at in range(80, 96))),
}


def check_regular(path: Path, name: str) -> None:
    """Refuses anything but a plain file before it is opened: a pipe would wait forever, a device would never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise DataError(f"{name}: is {kind}, expected a file. Save its content to a file and name that.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{name}: cannot be opened: {error.strerror}. Check its permissions.") from error


def check_ratio(name: str, packed: int, unpacked: int) -> None:
    """Refuses a file that unpacks to so many times its size that it must have been made to fill memory or disk."""
    if unpacked > UNPACKED_FREELY and unpacked > MAX_RATIO * packed:
        raise DataError(
            f"{name}: {packed:,} bytes unpack to {unpacked:,} or more, over {MAX_RATIO} times as many. No text compresses so "
            "well, so this looks like a file made to fill the disk. If you trust it, unpack it and name the unpacked file."
        )


def read_text(path: Path, name: str) -> Iterator[str]:
    """The text piece by piece, without a byte-order mark at its start."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    try:
        for piece in _read_bytes(path, name):
            if b"\0" in piece:
                raise _zero_byte(piece, name, line)
            yield decoder.decode(piece)
            line += piece.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_utf8(error, name, line) from error
    except (OSError, EOFError, zlib.error) as error:  # gzip and zstd raise these too
        raise DataError(
            f"{name}: cannot be read to its end: at line {line} or after it, {_why(error)}. Fetch it again."
        ) from error


def read_lines(pieces: Iterable[str], name: str, first: int = 1) -> Iterator[str]:
    """Lines with their ends. Only a newline ends a line, because texts may contain other line separators."""
    number, held, length = first, list[str](), 0
    for piece in pieces:
        for part in io.StringIO(piece, newline="\n"):
            held.append(part)
            length += len(part)
            if length > MAX_CHARACTERS:
                raise too_long(f"{name} line {number}", "Give each record a line of its own.")
            if part.endswith("\n"):
                yield "".join(held)
                number, length = number + 1, 0
                held.clear()
    last = "".join(held)
    if number == 1 and "\r" in last.rstrip("\r"):
        raise DataError(
            f"{name}: its lines end in carriage returns alone, as old Macs wrote them; expected newlines. Convert it: "
            "tr '\\r' '\\n' < old > new."
        )
    if last:
        yield last


def too_long(where: str, advice: str, unit: str = "characters") -> DataError:
    return DataError(f"{where}: longer than {MAX_CHARACTERS:,} {unit}, the limit for one record. {advice}")


def first_repeated(names: list[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))


def _read_bytes(path: Path, name: str) -> Iterator[bytes]:
    packing = path.suffix.lower()
    unpack = UNPACKERS.get(packing)
    with path.open("rb") as file:
        if unpack:
            _check_packed(file, name, packing)
        content = unpack(file) if unpack else file
        unpacked = 0
        while piece := content.read(PIECE):
            if not unpacked:
                _check_beginning(piece, name)
            unpacked += len(piece)
            if unpack:
                check_ratio(name, path.stat().st_size, unpacked)
            yield piece


def _unpack_zstd(file: IO[bytes]) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(file, "zstd")


UNPACKERS: dict[str, Callable[[IO[bytes]], Any]] = {".gz": lambda f: gzip.GzipFile(fileobj=f), ".zst": _unpack_zstd}


def _check_packed(file: IO[bytes], name: str, packing: str) -> None:
    beginning = file.read(4)
    if beginning and not beginning.startswith(PACKED_BEGINNINGS[packing]):
        raise DataError(
            f"{name}: named {packing}, but its content is not compressed that way. Take {packing} off its name if it is "
            "plain text; otherwise it may be damaged: fetch it again."
        )
    file.seek(0)


def _check_beginning(piece: bytes, name: str) -> None:
    for beginning, what, advice in BEGINNINGS:
        if piece.startswith(beginning):
            raise DataError(f"{name}: its content is {what}, but its name promises UTF-8 text. {advice}")


def _why(error: Exception) -> str:
    if isinstance(error, EOFError) or "Truncated" in str(error):
        return "its compressed content breaks off"
    return getattr(error, "strerror", None) or f"its content is damaged ({error})"


def _zero_byte(piece: bytes, name: str, line: int) -> DataError:
    at = piece.index(0)
    line += piece.count(b"\n", 0, at)
    if piece[:1000].count(0) * 5 > len(piece[:1000]):
        return DataError(f"{name} line {line}: many of its bytes are zero, so it looks like UTF-16. Save it as UTF-8.")
    return DataError(f"{name} line {line}: holds a zero byte. The file may be damaged or not text: fetch it again.")


def _not_utf8(error: UnicodeDecodeError, name: str, line: int) -> DataError:
    content: bytes = error.object
    at = error.start
    line += content.count(b"\n", 0, at)
    if error.reason == "unexpected end of data":
        return DataError(
            f"{name} line {line}: ends in the middle of a character, {content!r}. Either it was cut short: fetch it again; or "
            "it is not UTF-8: save it as UTF-8."
        )
    alone = all(byte < 0x80 for byte in content[max(at - 1, 0) : at] + content[at + 1 : at + 2])
    if alone:  # an accented letter between plain ones; in other encodings such bytes come in pairs
        near = content[max(at - 12, 0) : at + 12].decode("latin-1").split("\n")
        shown = next(part for part in near if not part.isascii())
        return DataError(
            f"{name} line {line}: byte {content[at]:#04x} is not UTF-8; it looks like Latin-1, in which it reads {shown!r}. "
            "Save the file as UTF-8: iconv -f latin1 -t utf-8."
        )
    return DataError(
        f"{name} line {line}: byte {content[at]:#04x} is not UTF-8. It may be another encoding, such as GB18030 or "
        "Shift-JIS, or no text at all. Save the file as UTF-8."
    )
