"""`POST /predict`: a picture in, its faces as JSON out, as in `predictions.json`."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.app.service import BusyError, Choice, Service
from fer_lightning.inference.json_file import describe_picture

USAGE = "send the picture as the body: curl --data-binary @photo.jpg"
log = logging.getLogger(__name__)


class Interface:
    """The route `/predict` of a service; `threshold` is what a request without one gets."""

    def __init__(self, service: Service, threshold: float) -> None:
        self.service, self.threshold = service, threshold

    async def answer(self, request: Request) -> JSONResponse:
        """Answer 200 with the faces, else 4xx or 5xx with `error`."""
        where, query = str(request.url.replace(query="")), request.query_params
        if request.method != "POST":
            return _error(405, f"{USAGE} {where}")
        if request.headers.get("content-type", "").startswith("multipart/"):
            return _error(415, f"this is a form: {USAGE} {where}")
        try:
            unknown = [name for name in query if name not in ("faces", "threshold")]
            if unknown:
                raise ConfigError(f"{unknown[0]} is unknown: faces and threshold may follow the question mark")
            choice = Choice.parse(
                query.get("faces", self.service.faces),
                query.get("threshold", self.threshold),
                self.service.predictors,
            )
            faces = await self.service.run(self.service.recognize, await request.body(), "", choice)
        except BusyError as error:
            return _error(503, str(error), {"Retry-After": "1"})
        except ConfigError as error:
            return _error(400, str(error))
        except ClientDisconnect:
            return _error(400, "the picture did not arrive")  # which nobody reads
        except Exception:
            log.exception("a request to /predict failed")
            return _error(500, "the program made a mistake with this picture; its log says more")
        if faces.picture is None:
            return _error(422, faces.note or "the picture cannot be read")
        return JSONResponse(describe_picture(faces))


def _error(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": why}, status, headers)
