from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data as photographs

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.haar import HaarDetector

HAS_CASCADES = hasattr(cv2, "CascadeClassifier")
with_cascades = pytest.mark.skipif(not HAS_CASCADES, reason=f"OpenCV {cv2.__version__} has no Haar cascades")


@pytest.mark.skipif(HAS_CASCADES, reason=f"OpenCV {cv2.__version__} has Haar cascades")
def test_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r'faces=haar needs OpenCV 4.*type faces=auto.*"opencv-python-headless<5"'):
        HaarDetector()


@with_cascades
def test_finds_a_face_where_it_is() -> None:
    detector = HaarDetector()
    (box, score), *others = detector(photographs.astronaut())
    assert not others
    assert score == 1
    assert abs(box.x + box.w / 2 - 222) < 15
    assert abs(box.y + box.h / 2 - 115) < 15
    assert detector(photographs.coffee()) == []
    for shape in ((1, 1), (5000, 3, 3), (33, 31), (0, 4)):
        assert detector(np.zeros(shape, dtype=np.uint8)) == []


@with_cascades
def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("no cascade")
    (tmp_path / "b.xml").write_text("<?xml version='1.0'?><opencv_storage><a>1</a></opencv_storage>")
    for name in ("a.xml", "b.xml", "c.xml"):
        with pytest.raises(ConfigError, match=rf"detector_file=.*{name} is no cascade of OpenCV: name a file such as"):
            HaarDetector(tmp_path / name)
