"""Pictures at addresses: `https://…/photo.jpg`; what turns out to be a video is read as one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimeoutOfFuture  # of its own until Python 3.11
from dataclasses import dataclass, field

from fer_lightning import __version__
from fer_lightning.inference.pictures import Picture, read_image
from fer_lightning.inference.video.frames import Reading, Video

SECONDS = 20.0  # until a server has to answer, and to send more
LONGEST = 60.0  # seconds for the whole image: a server may send byte after byte
MOST_BYTES = 64 * 2**20
SCHEMES = ("http", "https")
# servers that do not know better call an image the last two
TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
VIDEOS = ("video/", "multipart/x-mixed-replace")  # the second is a camera of the network that sends JPEG after JPEG


@dataclass(frozen=True)
class Address:
    """An address of one image, or of a video that is read as `reading` says."""

    file: str
    reading: Reading = field(default_factory=Reading)

    def __iter__(self) -> Iterator[Picture]:
        try:
            picture = read_image(fetch(self.file))
        except _VideoThere:
            yield from Video(self.file, self.reading)
            return
        except _FetchError as error:
            picture = Picture(None, note=str(error))
        yield picture._replace(source=self.file)


class _FetchError(Exception):
    """Why an address gives no image."""


class _VideoThere(_FetchError):
    """An address gives a video instead."""


def fetch(address: str) -> bytes:
    """Return the content of an address of an image; raise a `_FetchError` where there is none, or it takes too long."""
    content: Future[bytes] = Future()

    def work() -> None:
        try:
            content.set_result(_fetch(address))
        except BaseException as error:
            content.set_exception(error)

    threading.Thread(target=work, daemon=True).start()  # a daemon, because nobody waits for one that is too slow
    try:
        return content.result(LONGEST)
    except TimeoutOfFuture as error:
        raise _FetchError(f"not complete after {LONGEST:g} seconds") from error


def _fetch(address: str) -> bytes:
    import socket  # only here: photographs on the disk need not wait for these
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    if address.partition("://")[0].lower() not in SCHEMES:
        raise _FetchError("no address of an image: it begins with http:// or https://")
    # no other schemes: a server may redirect to them
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler),
        *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler),
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    try:
        request = urllib.request.Request(address, headers={"User-Agent": f"fer_lightning/{__version__}"})
        with opener.open(request, timeout=SECONDS) as answer:
            kind = answer.headers.get_content_type()
            if kind.startswith(VIDEOS):
                raise _VideoThere(kind)
            if not kind.startswith(TYPES):
                raise _FetchError(f"no image there but {kind}")
            data: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise _FetchError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, socket.gaierror):
            raise _FetchError("no such server, or no connection to the internet") from error
        why = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        raise _FetchError(f"cannot be fetched: {why}") from error
    if len(data) > MOST_BYTES:
        raise _FetchError(f"more than {MOST_BYTES // 2**20} MiB, too many for an image")
    return data
