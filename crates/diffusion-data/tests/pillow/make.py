"""Makes small image files, and what Pillow reads in them, for tests/pillow.rs.

    python -m venv venv && venv/bin/pip install pillow==13.0.0 numpy
    venv/bin/python make.py

Each line of expected.txt has a file, a tolerance, width and height, and the bytes of the picture in hexadecimal digits,
as `ImageOps.exif_transpose(image)` and then `convert("RGB")` or `convert("L")` give them.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, PngImagePlugin

HERE = Path(__file__).parent
W, H = 7, 5
LINES = []


def pixels(channels, high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, (H, W, channels)).astype(np.uint8)


def smooth(width=W, height=H):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 20 * x * 7 // width, 60 + 25 * y * 5 // height, 200 - 10 * (x + y) * 6 // width], -1).astype(np.uint8)


def note(name, tolerance=0, image=None, kinds=("RGB", "L")):
    image = image or Image.open(HERE / name)
    image = ImageOps.exif_transpose(image)
    for kind in kinds:
        data = image.convert(kind)
        LINES.append(f"{name} {kind} {tolerance} {data.width} {data.height} {data.tobytes().hex()}")


def save(name, image, tolerance=0, **options):
    image.save(HERE / name, **options)
    note(name, tolerance)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(color_type, depth, rows, before=b"", after=b""):
    data = b"".join(b"\0" + row for row in rows)
    header = struct.pack(">IIBBBBB", W, H, depth, color_type, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data))
            + after + chunk(b"IEND", b""))


def exif(order, kind, orientation):
    size = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return mark + struct.pack(order + "IHHHI" + size + "I", 8, 1, 0x112, kind, 1, orientation, 0)


rgb = Image.fromarray(pixels(3))
gray = Image.fromarray(pixels(1)[..., 0])
rgba = Image.fromarray(pixels(4))
palette = rgb.quantize(8)
save("rgb.png", rgb)
save("gray.png", gray)
save("gray-alpha.png", Image.fromarray(pixels(2)))
save("rgba.png", rgba)
save("palette.png", palette)
save("palette-transparent.png", palette, transparency=bytes([0, 128, 255, 7]))
save("bits.png", gray.convert("1"))
(HERE / "rgb16.png").write_bytes(png(2, 16, [row.tobytes() for row in np.random.default_rng(1).integers(0, 65536, (H, W * 3)).astype(">u2")]))
note("rgb16.png")
# Pillow makes all gray values of 16 bits beyond 255 white; the higher 8 bits are what it takes of RGB.
deep = np.random.default_rng(2).integers(0, 65536, (H, W)).astype(np.uint16)
Image.fromarray(deep).save(HERE / "gray16.png")
note("gray16.png", image=Image.fromarray((deep >> 8).astype(np.uint8)))
Image.fromarray(deep).save(HERE / "gray16.tif")
note("gray16.tif", image=Image.fromarray((deep >> 8).astype(np.uint8)))
save("frames.png", rgb, save_all=True, append_images=[rgb.rotate(180)], duration=100)

save("rgb.bmp", rgb)
save("palette.bmp", palette)
save("gray.bmp", gray)
save("rgba.bmp", rgba)
save("rgb.ppm", rgb)
save("gray.pgm", gray)
save("bits.pbm", gray.convert("1"))
(HERE / "text.ppm").write_text("P3\n# made by hand\n%d %d\n255\n%s\n" % (W, H, " ".join(map(str, pixels(3).ravel()))))
note("text.ppm")
save("rgb.webp", rgb, lossless=True, exact=True)
save("rgba.webp", rgba, lossless=True, exact=True)
save("lossy.webp", Image.fromarray(smooth(32, 24)), 3, quality=90)
save("frames.webp", rgb, lossless=True, exact=True, save_all=True, append_images=[rgb.rotate(180)])
save("palette.gif", palette)
save("transparent.gif", palette, transparency=3)
save("frames.gif", palette, save_all=True, append_images=[palette.rotate(180)])
for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    save(f"{compression}.tif", rgb, compression=compression)
save("gray.tif", gray)
save("rgba.tif", rgba)
save("bits.tif", gray.convert("1"))
save("fax.tif", gray.convert("1"), compression="group4")
save("cmyk.tif", Image.fromarray(pixels(4, seed=5), "CMYK"), 1)
save("pages.tif", rgb, save_all=True, append_images=[gray])

big = Image.fromarray(smooth(32, 24))
save("rgb.jpg", big, 3, quality=95)
save("progressive.jfif", big, 3, quality=95, progressive=True, format="JPEG")
save("gray.jpe", big.convert("L"), 2, quality=95, format="JPEG")
cmyk = np.concatenate([smooth(32, 24), np.full((24, 32, 1), 60, np.uint8)], -1)
save("cmyk.jpg", Image.fromarray(cmyk, "CMYK"), 3, quality=95)

for order in "<>":
    # BYTE, kind 1, is turned here too, and not by Pillow.
    for kind in (3, 4):
        save(f"exif-{'little' if order == '<' else 'big'}-{kind}.jpg", big, 3, quality=95, exif=b"Exif\0\0" + exif(order, kind, 6))
for orientation in range(2, 9):
    save(f"turned-{orientation}.png", rgb, exif=exif(">", 4, orientation))
rows = [row.tobytes() for row in pixels(3)]
(HERE / "exif-last.png").write_bytes(png(2, 8, rows, after=chunk(b"eXIf", exif("<", 3, 8))))
note("exif-last.png")
text = "\nexif\n%8d\n" % len(exif("<", 3, 5)) + (b"Exif\0\0" + exif("<", 3, 5)).hex() + "\n"
(HERE / "exif-text.png").write_bytes(png(2, 8, rows, before=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text.encode()))))
note("exif-text.png")
info = PngImagePlugin.PngInfo()
info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="7"/>')
save("xmp.png", rgb, pnginfo=info)
save("xmp.jpg", big, 3, quality=95, xmp=b"<x><tiff:Orientation>3</tiff:Orientation></x>")
save("exif.webp", rgb, lossless=True, exact=True, exif=exif("<", 4, 6))
save("turned.tif", rgb, tiffinfo={0x112: 6})

# Smaller, and larger, from the middle.
y, x = np.mgrid[0:60, 0:100]
waves = 127 + 60 * np.sin(x / 5)[..., None] * [1, 0.5, 0] + 60 * np.cos((x + y) / 3)[..., None] * [0, 0.5, 1]
photo = Image.fromarray(waves.clip(0, 255).astype(np.uint8))
photo.save(HERE / "photo.png")
small = photo.resize((9, 12))
small.save(HERE / "small.png")
for name, image, box, size in (("photo.png", photo, (20, 0, 80, 60), 16), ("small.png", small, (0, 1, 9, 10), 40)):
    for kind in ("RGB", "L"):
        middle = image.convert(kind).crop(box)
        note(name, image=middle.resize((size, size), Image.Resampling.LANCZOS), kinds=(kind,))

# What is not read, and why Pillow's numbers would be of no use.
Image.fromarray(np.linspace(0, 1, W * H).reshape(H, W).astype(np.float32)).save(HERE / "float.tif")

(HERE / "expected.txt").write_text("\n".join(LINES) + "\n")
