"""Images in files of their own are opened as strangers' files are."""

from pathlib import Path

import pytest

from cvbundle.problems import UserError
from cvbundle.training.images import read_image
from tests.dataset.test_probe import png


def test_an_image_is_read_in_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    assert read_image(path).mode == "RGB"


def test_an_image_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(UserError, match=r"a\.png can't be read \(No such file or directory\)"):
        read_image(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(UserError, match=r"a\.png is not an image \(PNG, JPEG"):
        read_image(path)
