"""Pictures of any size and mode become what a model looks at; what is no picture is said, never guessed."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from moorelens.errors import ImageError, ModelError
from moorelens.saliency.images import loading
from moorelens.saliency.images.loading import LONGEST, load_images, picture_files, read_picture
from moorelens.saliency.images.models import ImageModel
from moorelens.saliency.images.opening import open_model
from tests.saliency.images import factories

HERE = "tests.saliency.images.factories"
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)
EXACT = torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def model() -> ImageModel:
    return factories.lights()


@pytest.fixture(scope="module")
def grey() -> ImageModel:
    return open_model(f"{HERE}:grey", size=(32, 32))


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_picture_of_the_models_size_is_shown_as_it_is(model: ImageModel) -> None:
    picture = read_picture(encoded(RGB), name="a.png", model=model)
    assert torch.equal(picture.raw, EXACT)
    assert (picture.width, picture.height, picture.mode, picture.notes) == (32, 32, "RGB", ())
    assert torch.equal(picture.input(model), EXACT[None])


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_becomes_what_a_viewer_shows(model: ImageModel, grey: ImageModel, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(RGB.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(RGB.convert("L")).astype(np.float32) / 255)
    else:
        image = RGB.convert(mode)
    data = encoded(image, "TIFF" if mode in ("CMYK", "YCbCr", "F") else "PNG")
    shown = read_picture(data, name="a", model=model)
    assert shown.raw.shape == (3, 32, 32)
    if mode not in ("I;16", "F"):
        expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
    else:
        expected = (torch.from_numpy(np.array(RGB.convert("L"))).float() / 255).expand(3, 32, 32)
    torch.testing.assert_close(shown.raw, expected, atol=2e-3, rtol=0)
    assert read_picture(data, name="a", model=grey).raw.shape == (1, 32, 32)


def test_a_coloured_picture_is_shown_to_one_channel_by_its_luma(grey: ImageModel) -> None:
    picture = read_picture(encoded(RGB), name="a.png", model=grey)
    red, green, blue = EXACT
    torch.testing.assert_close(picture.raw[0], 0.299 * red + 0.587 * green + 0.114 * blue)
    assert "grey" in picture.notes[0]


def test_transparent_parts_are_white(model: ImageModel) -> None:
    clear = np.dstack([PIXELS, np.zeros((32, 32), np.uint8)])
    clear[:16, :, 3] = 255
    picture = read_picture(encoded(Image.fromarray(clear, "RGBA")), name="a.png", model=model)
    assert torch.equal(picture.raw[:, :16], EXACT[:, :16])
    assert bool((picture.raw[:, 16:] == 1).all())
    assert picture.notes == ("transparent parts shown on white",)
    palette = RGB.convert("P")
    first = np.asarray(palette) == 0
    picture = read_picture(encoded(palette, transparency=0), name="a.png", model=model)
    assert bool((picture.raw[:, torch.from_numpy(first)] == 1).all())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_held_sideways_is_turned_back(model: ImageModel, orientation: int) -> None:
    back = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    stored = RGB if orientation == 1 else RGB.transpose(Image.Transpose[back[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(encoded(stored, "PNG", exif=exif), name="a.png", model=model)
    assert torch.equal(picture.raw, EXACT)
    assert bool(picture.notes) == (orientation > 1)


def test_numbers_beyond_16_bits_are_scaled_by_their_own_range(model: ImageModel) -> None:
    image = Image.fromarray(np.linspace(-5, 95, 32 * 32).reshape(32, 32).astype(np.float32))
    picture = read_picture(encoded(image, "TIFF"), name="a.tif", model=model)
    assert (float(picture.raw.min()), float(picture.raw.max())) == (0.0, 1.0)
    assert "-5 to 95" in picture.notes[0]
    flat = Image.fromarray(np.full((32, 32), 300.0, np.float32))
    assert float(read_picture(encoded(flat, "TIFF"), name="a.tif", model=model).raw.max()) == 0.0


def test_a_wide_picture_loses_its_edges_or_its_proportions(model: ImageModel) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    cut = read_picture(encoded(Image.fromarray(wide)), name="a.png", model=model)
    assert bool((cut.raw > 0.99).all())
    assert cut.notes == ("cut to the middle 20 × 20 pixels", "scaled to 32 × 32 pixels")
    whole = read_picture(encoded(Image.fromarray(wide)), name="a.png", model=model, fit="stretch")
    assert whole.raw.mean() == pytest.approx(1 / 3, abs=0.01)
    assert whole.notes == ("scaled to 32 × 32 pixels",)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (33, 31), (900, 40)])
def test_any_size_can_be_shown(model: ImageModel, size: tuple[int, int]) -> None:
    picture = read_picture(encoded(RGB.resize(size)), name="a.png", model=model)
    assert picture.raw.shape == (3, 32, 32)
    free = read_picture(encoded(RGB.resize(size)), name="a.png", model=open_model(f"{HERE}:bare"))
    assert free.raw.shape[1:] == tuple(max(1, round(side * min(1, LONGEST / max(size)))) for side in size[::-1])
    assert 0 <= float(free.raw.min()) <= float(free.raw.max()) <= 1


def test_the_first_of_several_frames_is_shown(model: ImageModel) -> None:
    frames = [RGB.rotate(90), RGB.rotate(180)]
    picture = read_picture(encoded(RGB, "TIFF", save_all=True, append_images=frames), name="a.tif", model=model)
    assert torch.equal(picture.raw, EXACT)
    assert picture.notes == ("the first of 3 frames",)


def damaged() -> dict[str, bytes]:
    jpeg = encoded(RGB, "JPEG")
    return {
        "text called png": b"this is a text\n",
        "half a png": encoded(RGB)[:500],
        "half a jpeg": jpeg[: len(jpeg) // 2],
        "a flipped byte": encoded(RGB)[:60] + b"\xff" + encoded(RGB)[61:],
        "a bomb": png_of(100_000, 100_000),
        "too many pixels": png_of(10_000, 9_000),
        "postscript": encoded(RGB, "EPS"),
        "pdf": encoded(RGB, "PDF"),
        "nan": encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
    }


@pytest.mark.parametrize("kind", damaged())
def test_what_is_no_picture_is_refused_in_one_sentence(model: ImageModel, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(damaged()[kind], name="a.png", model=model)
    assert "a.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_other_channels_is_told_what_to_do() -> None:
    with pytest.raises(ModelError, match="reads 7"):
        read_picture(encoded(RGB), name="a.png", model=open_model(f"{HERE}:seven"))


def test_a_folder_is_read_in_order_and_other_files_are_said(model: ImageModel, tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("z.png", "a.PNG", "b/c/d.jpg", ".hidden/e.png", ".f.png"):
        (tmp_path / name).write_bytes(encoded(RGB, "JPEG" if name.endswith("jpg") else "PNG"))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    found = load_images(tmp_path, model)
    assert [picture.name for picture in found.pictures] == ["a.PNG", "b/c/d.jpg", "z.png"]
    assert {one.name: one.reason for one in found.skipped} == {"notes.txt": "is no picture", "empty.png": "is empty"}
    assert load_images(tmp_path / "z.png", model).pictures[0].name == "z.png"


def test_a_folder_without_a_picture_is_refused(model: ImageModel, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no file"):
        load_images(tmp_path, model)
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ImageError, match=r"of the 1 files .* none can be read \(notes.txt is no picture\)"):
        load_images(tmp_path, model)


def test_a_file_that_is_not_there_or_is_no_file_is_refused(model: ImageModel, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        load_images(tmp_path / "absent.png", model)
    with pytest.raises(ImageError, match="null"):
        load_images("a\0b.png", model)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="is no file"):
        load_images(tmp_path / "pipe.png", model)


def test_a_folder_of_too_many_files_is_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MOST_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(ImageError, match="at most 3 files"):
        picture_files(tmp_path)
    (tmp_path / "0.txt").unlink()
    assert len(picture_files(tmp_path)) == 3


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system shows no processes as files")
def test_folders_in_which_the_system_shows_itself_are_not_walked(tmp_path: Path) -> None:
    for folder in ("/proc", "/proc/self", "/sys"):
        with pytest.raises(ImageError, match="the system shows its processes"):
            picture_files(Path(folder))
