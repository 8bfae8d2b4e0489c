"""Read a file once: decompressed on the way, with the checksums of what is stored and of what is in it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any

CHUNK = 1 << 23  # 8 MiB
_STEP = 1 << 20

# What the decompressors raise on damaged or cut data; gzip.BadGzipFile and bz2's errors are OSError.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))


class _Hashing(io.RawIOBase):
    """Passes bytes on and adds them to a checksum."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self._raw.readinto(view)  # type: ignore[attr-defined]
        self.sha256.update(view[:count])
        return count


class ContentStream:
    """The decompressed content of a file, read forwards once. The file is opened read-only and never locked.

    compression: '', 'gzip', 'bzip2' or 'xz', told from the first bytes.
    size: bytes as stored. position: bytes of content delivered so far.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        try:
            self.size = self._file.seek(0, io.SEEK_END)
            self._file.seek(0)
            start = self._file.read(6)
            self._file.seek(0)
        except BaseException:
            self._file.close()
            raise
        self.compression = next((name for magic, name in _MAGIC if start.startswith(magic)), "")
        self.position = 0
        self._returned = b""
        self._stored = _Hashing(self._file)
        self._content_sha256 = hashlib.sha256()
        buffered = io.BufferedReader(self._stored, _STEP)
        # Not closed by themselves: closing the file is enough, they hold nothing else.
        self._content: Any = buffered
        if self.compression == "gzip":
            self._content = gzip.GzipFile(fileobj=buffered, mode="rb")
        elif self.compression == "bzip2":
            self._content = bz2.BZ2File(buffered, "rb")
        elif self.compression == "xz":
            self._content = lzma.LZMAFile(buffered, "rb")  # noqa: SIM115

    def __enter__(self) -> ContentStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def most_content(self) -> int | None:
        """An upper limit of the content's size that is known without reading it; None when there is none."""
        if not self.compression:
            return self.size
        # Deflate stores at best 258 bytes in two bits (RFC 1951): never more than 1032 to 1. bzip2 and xz have
        # no such limit.
        return 1032 * self.size if self.compression == "gzip" else None

    def fill(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the content goes and return the number of bytes. Raises one of DAMAGED."""
        done = min(len(self._returned), len(buffer))
        buffer[:done], self._returned = self._returned[:done], self._returned[done:]
        while done < len(buffer):
            # The decompressors make a copy of what they are asked for, so they are asked for little.
            count = self._content.readinto(buffer[done : done + _STEP] if self.compression else buffer[done:])
            if not count:
                break
            if self.compression:
                self._content_sha256.update(buffer[done : done + count])
            done += count
        self.position += done
        return done

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        buffer = bytearray(count)
        return bytes(buffer[: self.fill(memoryview(buffer))])

    def put_back(self, content: bytes) -> None:
        """Return what was read last, to be read again."""
        self._returned = content + self._returned
        self.position -= len(content)

    def skip(self, most: int | None = None) -> int:
        """Read on, keeping nothing, to the end or for `most` bytes. Returns the number of bytes."""
        buffer = memoryview(bytearray(_STEP if most is None else min(most, _STEP)))
        done = 0
        while most is None or done < most:
            wanted = buffer if most is None else buffer[: min(len(buffer), most - done)]
            count = self.fill(wanted)
            done += count
            if count < len(wanted):
                break
        return done

    def checksums(self) -> tuple[str, str]:
        """SHA-256 of the file as stored and of its content. Right only once everything was read."""
        stored = self._stored.sha256.hexdigest()
        return stored, self._content_sha256.hexdigest() if self.compression else stored
