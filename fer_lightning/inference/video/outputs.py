"""What is written for each video of a prediction: its copy with boxes, and the plot of its expressions over time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fer_lightning.core.atomic_write import make_folder
from fer_lightning.inference.face import Faces
from fer_lightning.inference.video.copy import Draw, VideoCopy, video_copy
from fer_lightning.inference.video.frames import rate_of
from fer_lightning.inference.video.timeline import Timeline

log = logging.getLogger(__name__)


class VideoOutputs:
    """Writes the files of videos as their frames come; photographs are passed over. See `open_video_outputs`.

    Attributes:
        written: what was written until now.
    """

    def __init__(
        self, name: Callable[[str], Path], classes: Sequence[str], every: int, draw: Draw | None, timeline: bool
    ) -> None:
        self.name, self.classes, self.every, self.draw, self.timeline = name, classes, every, draw, timeline
        self.written: list[Path] = []
        self._open = ExitStack()
        self._outputs: list[VideoCopy | Timeline] = []
        self._codec_said = False

    def add(self, faces: Faces) -> None:
        """Take the next picture; the frames of a video follow each other."""
        if faces.frame in (None, 0):
            self.close()
        if faces.frame == 0:
            self._start(faces.source)
        if faces.frame is not None:
            for output in self._outputs:
                output.add(faces)

    def close(self) -> None:
        """Finish the files of the video at hand."""
        outputs, self._outputs = self._outputs, []
        self._open.close()
        if not self._codec_said and any(isinstance(one, VideoCopy) and one.codec == "mp4v" for one in outputs):
            self._codec_said = True
            log.info(
                "copies of videos are MPEG-4 part 2, as this OpenCV encodes no H.264: VLC plays them, browsers do not; "
                "ffmpeg -i COPY -c:v libx264 out.mp4 makes one for them"
            )

    def _start(self, video: str) -> None:
        path = self.name(video)
        if self.draw is not None or self.timeline:
            make_folder(path.parent)
        if self.draw is not None:
            rate = rate_of(video) / self.every
            copy = path if path.suffix == ".mp4" else path.with_name(f"{path.name}.mp4")
            self._outputs.append(self._open.enter_context(video_copy(copy, rate, self.draw)))
            self.written.append(copy)
        if self.timeline:
            plot = path.with_name(f"{path.name}.timeline.png")
            self._outputs.append(self._open.enter_context(timeline_figure(plot, self.classes, Path(video).name)))
            self.written.append(plot)


@contextmanager
def open_video_outputs(
    name: Callable[[str], Path], classes: Sequence[str], *, every: int, draw: Draw | None, timeline: bool
) -> Iterator[VideoOutputs]:
    """Yield what writes the copy and the plot of each video; all are there when the block ends, however it ends.

    Args:
        name: returns the path of a video's files without their suffixes.
        classes: of the model.
        every: of which frames are added, see `frames.Reading`.
        draw: returns a frame with the boxes of its faces, see `video_copy`; None for no copies.
        timeline: whether expressions over time are plotted.
    """
    outputs = VideoOutputs(name, classes, every, draw, timeline)
    try:
        yield outputs
    finally:
        outputs.close()


@contextmanager
def timeline_figure(path: Path, classes: Sequence[str], title: str) -> Iterator[Timeline]:
    """Yield what gathers the expressions of a video, which are plotted to `path` when the block ends."""
    timeline = Timeline(classes)
    try:
        yield timeline
    finally:
        from fer_lightning.evaluation.canvas import save  # with matplotlib, which takes longer than a photograph
        from fer_lightning.inference.video.timeline_figure import plot_timeline

        save(plot_timeline(timeline, title), path)
