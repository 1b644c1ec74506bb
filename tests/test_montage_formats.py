"""Montages are pictures: JPEG, PNG or WebP, whatever the name says, and no program is started."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from core.errors import MalformedDataError
from neuro_data_analysis.similarity.montages import read_montage

SIZE = (896, 672)
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 896 672\n%%EndComments\nshowpage\n%%EOF\n"
)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_read_whatever_their_name(tmp_path, kind):
    path = tmp_path / "Exp1_proto_attr_montage.jpg"
    Image.new("RGB", SIZE, (0, 255, 0)).save(path, kind)
    assert np.abs(read_montage(path) - [0, 1, 0]).max() < 0.02


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO", "postscript"])
def test_other_formats_are_refused_and_start_nothing(tmp_path, kind, monkeypatch):
    """Pillow would run Ghostscript on PostScript under the name of a JPEG."""
    path = tmp_path / "Exp1_proto_attr_montage.jpg"
    if kind == "postscript":
        path.write_bytes(POSTSCRIPT)
    else:
        Image.new("RGB", SIZE).save(path, kind)
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: started.append(given))
    with pytest.raises(MalformedDataError, match="is not a readable picture"):
        read_montage(path)
    assert started == []
