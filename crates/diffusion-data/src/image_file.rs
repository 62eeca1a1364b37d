//! One image file as the bytes of a picture of the size that is asked for.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Cursor, Read, Seek},
    panic::{self, UnwindSafe},
    path::Path,
};

use diffusion_core::counted;
use diffusion_core::memory::fallibly;
use diffusion_weights::FileKind;
use image::{
    ColorType, DynamicImage, GrayImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader,
    Limits, Pixel, RgbImage,
};

use crate::{
    error::{DataError, Problem},
    image_config::{Channels, ImageFolderConfig},
    image_content::{Content, READ},
    image_end, orientation,
    resample::{Rectangle, View, resize},
    source::{BEGINNING, beginning},
};

/// The greatest length of a file, and of its pixels when they are decoded; 512 MiB.
const MAX_BYTES: u64 = 512 << 20;
/// How much of a JPEG file is read at first to find its header; a preview before it can be as long.
const JPEG_HEADER: usize = 1 << 16;

/// What an error calls the format.
const IMAGE: &str = "an image";

/// Decodes an image file into the picture that `config` describes, channel after channel and row after row.
///
/// # Shapes
/// - `into`: `[channels, height, width]`
pub(crate) fn read(path: &Path, config: ImageFolderConfig, into: &mut [u8]) -> Result<(), DataError> {
    let image = decode(path, MAX_BYTES)?;
    let ImageFolderConfig { height, width, channels } = config;
    let pixels = match channels {
        Channels::Gray => middle::<_, 1>(&gray(image), height, width),
        Channels::Rgb => middle::<_, 3>(&rgb(image), height, width),
    };
    let channels = channels.count();
    for (c, plane) in into.chunks_exact_mut(height * width).enumerate() {
        for (byte, pixel) in plane.iter_mut().zip(pixels.chunks_exact(channels)) {
            *byte = pixel[c];
        }
    }
    Ok(())
}

/// The channels (1 of gray, else 3), the height and the width of the picture in the file.
pub(crate) fn shape(path: &Path) -> Result<[usize; 3], DataError> {
    let image = decode(path, MAX_BYTES)?;
    let channels = if image.color().has_color() { 3 } else { 1 };
    Ok([channels, image.height() as usize, image.width() as usize])
}

/// Whether the file begins as an image does that can be read, and ends as one does; of one that does not the pixels are
/// looked at too.
pub(crate) fn check(path: &Path) -> Result<(), DataError> {
    let failed = DataError::io(path);
    let length = std::fs::metadata(path).map_err(&failed)?.len();
    check_length(length, MAX_BYTES, path)?;
    let start = beginning(path)?;
    let format = format_of(&start, path)?;
    let decoded = without_panics(path, || decoded_length(format, path))?;
    let mut file = File::open(path).map_err(&failed)?;
    match image_end::seems_whole(&mut file, format, &start, decoded).map_err(&failed)? {
        true => Ok(()),
        false => decode(path, MAX_BYTES).map(drop),
    }
}

/// How many bytes the pixels take by the header.
fn decoded_length(format: ImageFormat, path: &Path) -> Result<u64, DataError> {
    let failed = DataError::io(path);
    if format != ImageFormat::Jpeg {
        let file = BufReader::new(File::open(path).map_err(&failed)?);
        return decoder(file, format, path, MAX_BYTES).map(|decoder| decoder.total_bytes());
    }
    // The decoder reads all that it is given.
    let mut limit = JPEG_HEADER as u64;
    loop {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(&failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(&failed)?;
        let is_whole = (bytes.len() as u64) < limit;
        match decoder(Cursor::new(&bytes), format, path, MAX_BYTES) {
            Err(DataError { problem: Problem::Decode { .. }, .. }) if !is_whole => limit *= 8,
            done => return done.map(|decoder| decoder.total_bytes()),
        }
    }
}

/// What the name of a file ends in after the last dot.
pub(crate) fn ending(path: &Path) -> &str {
    path.extension().and_then(OsStr::to_str).unwrap_or_default()
}

/// The format of a file that begins with `start`: that decides, not its name.
pub(crate) fn format_of(start: &[u8], path: &Path) -> Result<ImageFormat, DataError> {
    let known = |found: String| Err(Problem::format(found, READ).at(path));
    match (Content::of(start, ending(path)), FileKind::of(start)) {
        (Content::Image(format), _) => Ok(format),
        // What came in the place of a picture that is only called so.
        (Content::Named(_), Some(kind)) if kind.cure().is_some() => {
            Err(DataError::of_kind(&kind, READ, path))
        }
        (Content::Foreign(name) | Content::Named(name), _) => known(format!("is {name}")),
        (Content::Other, Some(kind)) => Err(DataError::of_kind(&kind, READ, path)),
        (Content::Other, None) => {
            known(format!("begins with the bytes {:02x?}", &start[..start.len().min(8)]))
        }
    }
}

/// The picture in the file, the right way up; file and picture may have `limit` bytes each.
fn decode(path: &Path, limit: u64) -> Result<DynamicImage, DataError> {
    let bytes = all_bytes(path, limit)?;
    let format = format_of(&bytes[..bytes.len().min(BEGINNING)], path)?;
    if format == ImageFormat::Jpeg && !has_end_of_image(&bytes) {
        let found = format!("ends after {}", counted(bytes.len(), "byte"));
        return Err(Problem::format(found, "the end-of-image marker of a JPEG file before").at(path));
    }
    without_panics(path, || {
        let mut decoder = decoder(Cursor::new(&bytes), format, path, limit)?;
        let orientation = orientation::of(format, &bytes, &mut decoder);
        let failed = |source| undecoded(source, format, path);
        let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
        image.apply_orientation(orientation);
        Ok(image)
    })
}

/// What decodes a file of this format, if its header says that it has pixels of one or two bytes, and not too many.
fn decoder<'a>(
    file: impl BufRead + Seek + 'a,
    format: ImageFormat,
    path: &Path,
    limit: u64,
) -> Result<impl ImageDecoder + 'a, DataError> {
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(limit);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|source| undecoded(source, format, path))?;
    // The decoder counts against the limit what it needs for itself, but not the pixels that it gives.
    if decoder.total_bytes() > limit {
        let (width, height) = decoder.dimensions();
        let bytes = decoder.total_bytes();
        let found = format!("is an image of {width} × {height} pixels or {bytes} bytes");
        return Err(Problem::TooLarge { found, limit: Some(limit) }.at(path));
    }
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        let expected = "integers of 8 or 16 bits, whose range is known";
        return Err(Problem::format("has floating-point pixels", expected).at(path));
    }
    Ok(decoder)
}

/// What the decoder says of a file; that of TIFF files, which may hold many things, has no words for what it does not read.
fn undecoded(source: ImageError, format: ImageFormat, path: &Path) -> DataError {
    if !matches!(source, ImageError::Unsupported(_)) || format != ImageFormat::Tiff {
        return Problem::decode(IMAGE, source).at(path);
    }
    let found = "is a TIFF file of a rare kind, such as with a palette, gray with transparency, YCbCr without JPEG, Lab, \
                 floating-point or 32-bit values, or another compression";
    Problem::format(found, "gray, RGB, RGBA or CMYK of 8 or 16 bits")
        .at(path)
        .with_hint("convert it to PNG, e.g. with `magick a.tif a.png`")
}

/// What `decode` returns, or an error where it panics, as that of png 0.18.1 does over a palette of four bytes.
///
/// The panic is still reported on the standard error stream, unless it was told otherwise.
fn without_panics<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, DataError> + UnwindSafe,
) -> Result<T, DataError> {
    panic::catch_unwind(|| fallibly(decode)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(Problem::decode(IMAGE, format!("the decoder has panicked: {text}")).at(path))
    })
}

/// All bytes of the file, if they are at most `limit`.
fn all_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(DataError::io(path))?;
    // What a file says of itself spares reading much of one that is too long; the rest may have grown since.
    check_length(file.metadata().map_or(0, |metadata| metadata.len()), limit, path)?;
    fallibly(|| file.take(limit + 1).read_to_end(&mut bytes)).map_err(DataError::io(path))?;
    check_length(bytes.len() as u64, limit, path)?;
    Ok(bytes)
}

fn check_length(length: u64, limit: u64, path: &Path) -> Result<(), DataError> {
    if length <= limit {
        return Ok(());
    }
    let found = format!("is longer than {limit} bytes");
    Err(Problem::TooLarge { found, limit: Some(limit) }.at(path))
}

/// Whether a JPEG file goes on until its end-of-image marker.
///
/// The decoder takes one that is cut, and fills the rest of the picture with gray.
fn has_end_of_image(jpeg: &[u8]) -> bool {
    let mut rest = jpeg;
    loop {
        rest = match rest {
            [0xff, 0xd9, ..] => return true,
            // An escaped 0xff within coded pixels, and the markers that stand alone.
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8, tail @ ..] => tail,
            // Padding before a marker.
            [0xff, 0xff, ..] => &rest[1..],
            // A segment, which tells its length. It may hold a preview, a JPEG file with an end of its own.
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest.get(2 + length..).unwrap_or_default()
            }
            // Coded pixels.
            [_, tail @ ..] => tail,
            [] => return false,
        };
    }
}

/// The picture in color, as Pillow's `convert("RGB")` makes it.
fn rgb(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let (bytes, channels) = opaque(image);
    let bytes = if channels == 3 { bytes } else { bytes.iter().flat_map(|&x| [x; 3]).collect() };
    RgbImage::from_raw(width, height, bytes).expect("each pixel has three values")
}

/// The picture in gray, as Pillow's `convert("L")` makes it: luma of ITU-R BT.601 in integers,
/// `(19595 R + 38470 G + 7471 B + 32768) / 65536`.
fn gray(image: DynamicImage) -> GrayImage {
    let (width, height) = (image.width(), image.height());
    let (bytes, channels) = opaque(image);
    let luma = |pixel: &[u8]| {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
    };
    let bytes = if channels == 1 { bytes } else { bytes.chunks_exact(3).map(luma).collect() };
    GrayImage::from_raw(width, height, bytes).expect("each pixel has one value")
}

/// The pixels of one or three bytes, and how many: the higher ones of values of 16 bits, and without transparency, as
/// Pillow leaves it out.
fn opaque(image: DynamicImage) -> (Vec<u8>, usize) {
    let color = image.color();
    let channels = usize::from(color.channel_count());
    let bytes = match image.as_flat_samples_u16() {
        Some(values) => values.samples.iter().map(|value| (value >> 8) as u8).collect(),
        None => image.into_bytes(),
    };
    let kept = if color.has_color() { 3 } else { 1 };
    if channels == kept {
        return (bytes, kept);
    }
    (bytes.chunks_exact(channels).flat_map(|pixel| &pixel[..kept]).copied().collect(), kept)
}

/// The pixels of the greatest rectangle in the middle that has the proportions of `height` and `width`, resized to
/// these, row after row.
fn middle<P, const N: usize>(image: &ImageBuffer<P, Vec<u8>>, height: usize, width: usize) -> Vec<u8>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (image_width, image_height) = image.dimensions();
    let (w, h) = proportional([image_width, image_height], [width as u32, height as u32]);
    let [left, top, middle_width, middle_height] =
        [(image_width - w) / 2, (image_height - h) / 2, w, h].map(|n| n as usize);
    let middle = Rectangle { left, top, width: middle_width, height: middle_height };
    resize(View::<N> { bytes: image.as_raw(), width: image_width as usize }, middle, width, height)
}

/// The greatest rectangle within the first one that has the proportions of the second, to the nearest pixel.
fn proportional([width, height]: [u32; 2], [to_width, to_height]: [u32; 2]) -> (u32, u32) {
    let nearest = |side: u32, to: u32, from: u32| {
        let (product, from) = (u64::from(side) * u64::from(to), u64::from(from));
        // No greater than the side that is cut, which fits into 32 bits.
        ((product + from / 2) / from).max(1) as u32
    };
    if u64::from(width) * u64::from(to_height) >= u64::from(height) * u64::from(to_width) {
        (nearest(height, to_width, to_height).min(width), height)
    } else {
        (width, nearest(width, to_height, to_width).min(height))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, hint::black_box, io::Write, path::PathBuf};

    use flate2::{Compression, Crc, write::ZlibEncoder};
    use image::{GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage, RgbaImage};
    use tempfile::TempDir;

    use super::*;

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        encode(image, ImageFormat::Png)
    }

    fn jpeg(image: impl Into<DynamicImage>) -> Vec<u8> {
        encode(image, ImageFormat::Jpeg)
    }

    fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn square(size: usize, channels: Channels) -> ImageFolderConfig {
        ImageFolderConfig { height: size, width: size, channels }
    }

    fn try_read_as(bytes: &[u8], config: ImageFolderConfig) -> Result<Vec<u8>, DataError> {
        let (_folder, path) = file(bytes);
        let mut into = vec![77; config.shape().iter().product()];
        read(&path, config, &mut into)?;
        Ok(into)
    }

    fn try_read(bytes: &[u8], size: usize, channels: Channels) -> Result<Vec<u8>, DataError> {
        try_read_as(bytes, square(size, channels))
    }

    fn gray(bytes: &[u8], size: usize) -> Vec<u8> {
        try_read(bytes, size, Channels::Gray).unwrap()
    }

    fn rgb(bytes: &[u8], size: usize) -> Vec<u8> {
        try_read(bytes, size, Channels::Rgb).unwrap()
    }

    #[track_caller]
    fn problem(bytes: &[u8]) -> Problem {
        let (_folder, path) = file(bytes);
        let config = square(4, Channels::Rgb);
        let error = read(&path, config, &mut [0; 48]).expect_err("the file is not well formed");
        assert_eq!(error.path, Some(path));
        error.problem
    }

    /// What the file has that is not of the right format.
    #[track_caller]
    fn found(bytes: &[u8]) -> String {
        match problem(bytes) {
            Problem::Format { found, .. } => found,
            other => panic!("{other:?}"),
        }
    }

    /// What is too large about the file.
    #[track_caller]
    fn too_large(bytes: &[u8]) -> String {
        match problem(bytes) {
            Problem::TooLarge { found, limit: Some(MAX_BYTES) } => found,
            other => panic!("{other:?}"),
        }
    }

    /// No two bytes alike.
    fn colors() -> RgbImage {
        RgbImage::from_raw(4, 4, (0..48).map(|x| 5 * x).collect()).unwrap()
    }

    #[test]
    fn an_image_of_the_right_size_is_left_as_it_is() {
        let planes: Vec<u8> = (0..3).flat_map(|c| (0..16).map(move |i| 5 * (3 * i + c))).collect();
        assert_eq!(rgb(&png(colors()), 4), planes);
        let image = GrayImage::from_raw(4, 4, (0..16).map(|x| 16 * x).collect()).unwrap();
        assert_eq!(gray(&png(image.clone()), 4), *image.as_raw());
        assert_eq!(rgb(&png(image.clone()), 4), [&image.as_raw()[..]; 3].concat());
    }

    #[test]
    fn the_middle_is_kept() {
        let columns = GrayImage::from_fn(9, 4, |x, _| Luma([10 * x as u8]));
        assert_eq!(gray(&png(columns), 4), [20, 30, 40, 50].repeat(4));
        let rows = GrayImage::from_fn(2, 8, |_, y| Luma([10 * y as u8]));
        assert_eq!(gray(&png(rows), 2), [30, 30, 40, 40]);
    }

    /// Of 9 × 4 pixels, 8 × 4 have the proportions 2 : 1, the left column being cut, and of 4 × 9 pixels 4 × 2.
    #[test]
    fn height_and_width_may_differ() {
        let wide = ImageFolderConfig { height: 2, width: 4, channels: Channels::Gray };
        let same = GrayImage::from_raw(4, 2, (0..8).map(|x| 30 * x).collect()).unwrap();
        assert_eq!(try_read_as(&png(same.clone()), wide).unwrap(), *same.as_raw());
        let columns = GrayImage::from_fn(5, 2, |x, _| Luma([10 * x as u8]));
        assert_eq!(try_read_as(&png(columns), wide).unwrap(), [0, 10, 20, 30].repeat(2));
        let rows = GrayImage::from_fn(4, 9, |_, y| Luma([10 * y as u8]));
        assert_eq!(try_read_as(&png(rows), wide).unwrap(), [30, 30, 30, 30, 40, 40, 40, 40]);
        let high = ImageFolderConfig { height: 3, width: 1, channels: Channels::Rgb };
        let image = RgbImage::from_fn(5, 3, |x, y| Rgb([10 * x as u8, 10 * y as u8, 7]));
        assert_eq!(try_read_as(&png(image), high).unwrap(), [20, 20, 20, 0, 10, 20, 7, 7, 7]);
    }

    #[test]
    fn the_greatest_rectangle_of_some_proportions_lies_within() {
        for (image, to, expected) in [
            ([9, 4], [2, 1], (8, 4)),
            ([4, 9], [2, 1], (4, 2)),
            ([100, 70], [28, 28], (70, 70)),
            ([70, 100], [3, 2], (70, 47)),
            ([1, 16384], [16384, 1], (1, 1)),
            ([u32::MAX, 1], [1, 1], (1, 1)),
            ([u32::MAX, u32::MAX], [16384, 16384], (u32::MAX, u32::MAX)),
        ] {
            assert_eq!(proportional(image, to), expected, "{to:?} within {image:?}");
        }
    }

    /// The weights of ITU-R BT.601, rounded to the nearest: 76.245, 149.685 and 29.07.
    #[test]
    fn gray_is_luma() {
        for (color, expected) in [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([201; 3], 201)] {
            assert_eq!(gray(&png(RgbImage::from_pixel(2, 2, Rgb(color))), 2), [expected; 4], "{color:?}");
        }
    }

    #[test]
    fn of_sixteen_bits_the_higher_eight_are_kept() {
        let values = [0, 65535, 101 * 256 - 1, 101 * 256];
        let image = ImageBuffer::<Luma<u16>, _>::from_raw(2, 2, values.to_vec()).unwrap();
        assert_eq!(gray(&png(image), 2), [0, 255, 100, 101]);
        let colors = [values[1], values[2], values[3]].repeat(4);
        let image = ImageBuffer::<Rgb<u16>, _>::from_raw(2, 2, colors).unwrap();
        assert_eq!(rgb(&png(image), 2), [[255; 4], [100; 4], [101; 4]].concat());
    }

    #[test]
    fn transparency_is_left_out() {
        let pixels = [[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 51, 128], [255, 255, 255, 1]];
        let image = RgbaImage::from_raw(2, 2, pixels.concat()).unwrap();
        assert_eq!(rgb(&png(image), 2), [200, 200, 200, 255, 100, 100, 100, 255, 50, 50, 51, 255]);
        let image = GrayAlphaImage::from_fn(2, 2, |x, _| LumaA([90, 255 * x as u8]));
        assert_eq!(gray(&png(image), 2), [90; 4]);
    }

    /// A reduced ramp has the mean of each block, but for the outermost, where the window ends at the border.
    #[test]
    fn reducing_takes_means() {
        let ramp = GrayImage::from_fn(256, 256, |x, y| Luma([((x + y) / 2) as u8]));
        let found = gray(&png(ramp), 16);
        for (i, &byte) in found.iter().enumerate() {
            let (y, x) = (i / 16, i % 16);
            let expected = 8.0 * (x + y) as f64 + 7.25;
            let inside = (1..15).contains(&x) && (1..15).contains(&y);
            assert!(
                (f64::from(byte) - expected).abs() < if inside { 1.0 } else { 4.0 },
                "{byte} at {x}, {y}"
            );
        }
        let fine = GrayImage::from_fn(64, 64, |x, y| Luma([255 * ((x + y) % 2) as u8]));
        assert!(gray(&png(fine), 16).iter().all(|byte| (120..136).contains(byte)));
    }

    /// Lanczos' filter overshoots a little where brightness jumps, which keeps the edge sharp.
    #[test]
    fn reducing_keeps_edges_sharp() {
        let step = GrayImage::from_fn(64, 64, |x, _| Luma([if x < 32 { 50 } else { 200 }]));
        let row = &gray(&png(step), 16)[..16];
        assert!(row[..8].iter().all(|byte| byte.abs_diff(50) <= 10), "{row:?}");
        assert!(row[8..].iter().all(|byte| byte.abs_diff(200) <= 10), "{row:?}");
        assert!(row.iter().any(|&byte| byte < 49) && row.iter().any(|&byte| byte > 201), "{row:?}");
    }

    #[test]
    fn enlarging_adds_nothing() {
        let image = RgbImage::from_pixel(3, 5, Rgb([10, 128, 250]));
        assert_eq!(rgb(&png(image), 7), [[10; 49], [128; 49], [250; 49]].concat());
    }

    #[test]
    fn jpeg_files_are_read() {
        let found = rgb(&jpeg(RgbImage::from_pixel(20, 16, Rgb([200, 100, 50]))), 16);
        for (plane, expected) in found.chunks(256).zip([200, 100, 50]) {
            assert!(plane.iter().all(|&byte| byte.abs_diff(expected) <= 3), "{plane:?}");
        }
        let found = gray(&jpeg(GrayImage::from_fn(16, 16, |x, _| Luma([255 * (x / 8) as u8]))), 16);
        assert!(found.iter().enumerate().all(|(i, &byte)| (byte > 128) == (i % 16 >= 8)), "{found:?}");
    }

    /// A JPEG file, whose left half is white, with an Exif segment that tells this orientation.
    fn oriented(orientation: u8) -> Vec<u8> {
        let image = jpeg(GrayImage::from_fn(16, 16, |x, _| Luma([255 * u8::from(x < 8)])));
        let exif = [
            &b"Exif\0\0II*\0\x08\0\0\0"[..],
            // One entry: tag 0x0112, one number of 16 bits; then no further entries.
            &[1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        [&image[..2], &[0xff, 0xe1, 0, exif.len() as u8 + 2], &exif, &image[2..]].concat()
    }

    #[test]
    fn images_are_turned_the_right_way_up() {
        let quadrants = |orientation| {
            let found = gray(&oriented(orientation), 16);
            [2 * 16 + 2, 2 * 16 + 13, 13 * 16 + 2, 13 * 16 + 13].map(|i| found[i] > 128)
        };
        assert_eq!(quadrants(1), [true, false, true, false]);
        // Mirrored, and turned by a quarter clockwise: what was left comes up.
        assert_eq!(quadrants(2), [false, true, false, true]);
        assert_eq!(quadrants(6), [true, true, false, false]);
    }

    #[test]
    fn the_beginning_tells_the_format() {
        assert_eq!(found(b"not\xff image"), "begins with the bytes [6e, 6f, 74, ff, 20, 69, 6d, 61]");
        assert_eq!(found(b""), "is empty");
        assert_eq!(found(b"8BPS\0\x01"), "is a Photoshop file");
        assert!(matches!(problem(b"GIF89a\x01\0\x01\0"), Problem::Decode { .. }));
    }

    /// What is cut from the end of a PNG file and does not change its pixels need not be missed.
    #[test]
    fn every_truncation_is_an_error() {
        let whole = png(colors());
        let end = whole.windows(4).position(|chunk| chunk == b"IEND").unwrap();
        for length in 0..whole.len() {
            match try_read(&whole[..length], 4, Channels::Rgb) {
                // Length and checksum stand around the name of a chunk.
                Ok(found) => {
                    assert!(length >= end - 8 && found == rgb(&whole, 4), "{length} of {}", whole.len())
                }
                Err(error) => assert!(error.path.is_some_and(|path| path.ends_with("image.png"))),
            }
        }
        let noise: Vec<u8> = (0..3 * 24 * 24_u32).map(|i| (i * i * 31 + i * 7) as u8).collect();
        let noise = RgbImage::from_raw(24, 24, noise).unwrap();
        let whole = jpeg(noise);
        assert!(try_read(&whole, 4, Channels::Rgb).is_ok());
        assert!((0..whole.len()).all(|length| !has_end_of_image(&whole[..length])));
        for length in (3..whole.len()).step_by(97).chain([whole.len() - 1]) {
            assert_eq!(found(&whole[..length]), format!("ends after {length} bytes"));
        }
        assert!(try_read(&[&whole[..], b"\xff\xda\0\0more"].concat(), 4, Channels::Rgb).is_ok());
    }

    /// All but TIFF files, whose ends tell nothing.
    #[test]
    fn half_a_file_is_noticed_without_its_pixels() {
        let noise: Vec<u8> = (0..3 * 24 * 24_u32).map(|i| (i * i * 31 + i * 7) as u8).collect();
        let noise = RgbImage::from_raw(24, 24, noise).unwrap();
        let formats = [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Gif,
            ImageFormat::Pnm,
        ];
        for format in formats {
            let whole = encode(noise.clone(), format);
            for behind in [&b""[..], b"a remark"] {
                let (_folder, path) = file(&[&whole[..], behind].concat());
                assert!(check(&path).is_ok(), "{format:?}: {:?}", check(&path));
            }
            for length in [whole.len() / 2, whole.len() - 60] {
                let (_folder, path) = file(&whole[..length]);
                assert!(check(&path).is_err(), "{format:?} {length}");
            }
        }
        let header = b"P4 24 24\n";
        for (length, is_whole) in [(72, true), (71, false), (30, false)] {
            let (_folder, path) = file(&[&header[..], &vec![0; length]].concat());
            assert_eq!(check(&path).is_ok(), is_whole, "{length}");
        }
    }

    /// Each format has its own way to end, and all notice that half is missing.
    #[test]
    fn half_a_file_is_an_error_in_every_format() {
        let noise: Vec<u8> = (0..3 * 24 * 24_u32).map(|i| (i * i * 31 + i * 7) as u8).collect();
        let noise = RgbImage::from_raw(24, 24, noise).unwrap();
        for format in
            [ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Pnm]
        {
            let whole = encode(noise.clone(), format);
            assert!(try_read(&whole, 24, Channels::Rgb).is_ok(), "{format:?}");
            for length in [8, 20, whole.len() / 2, whole.len() - 60] {
                assert!(try_read(&whole[..length], 24, Channels::Rgb).is_err(), "{format:?} {length}");
            }
        }
    }

    /// A header alone tells whether an image may be read, wherever its format has put it.
    #[test]
    fn the_header_is_checked_alone() {
        let long = [
            &b"\xff\xd8"[..],
            &[0xff, 0xe2, 0xff, 0xff],
            &[7; 0xfffd],
            &[0xff, 0xe3, 0xff, 0xff],
            &[7; 0xfffd],
        ]
        .concat();
        let long = [&long[..], &jpeg(colors())[2..]].concat();
        let formats =
            [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff];
        let files = formats.map(|format| encode(colors(), format)).into_iter().chain([jpeg(colors()), long]);
        for whole in files {
            let (_folder, path) = file(&whole);
            assert!(check(&path).is_ok(), "{:?}", check(&path));
        }
        for broken in [claiming(20_000, 10_000), b"no image".to_vec(), b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec()]
        {
            let (_folder, path) = file(&broken);
            assert!(check(&path).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_end_of_a_preview_is_not_the_end() {
        let preview = jpeg(RgbImage::new(2, 2));
        let whole = jpeg(colors());
        let length = (preview.len() as u16 + 2).to_be_bytes();
        let whole = [&whole[..2], &[0xff, 0xe2], &length, &preview, &whole[2..]].concat();
        assert_eq!(rgb(&whole, 4), rgb(&jpeg(colors()), 4));
        for length in [whole.len() - 1, whole.len() - 3, preview.len() + 8] {
            assert_eq!(found(&whole[..length]), format!("ends after {length} bytes"));
        }
    }

    #[test]
    fn padding_and_restart_markers_do_not_end_a_file() {
        // Start, a padded segment, a scan with restarts, an escape and the end.
        let mut file =
            b"\xff\xd8\xff\xff\xe0\0\x04\xff\xd9\xff\xda\0\x04\xff\xd9\x01\xff\xd0\x02\xff\0\xd9\x03"
                .to_vec();
        assert!(!has_end_of_image(&file));
        file.extend(b"\xff\xff\xd9");
        assert!(has_end_of_image(&file));
    }

    /// The same file with other dimensions in its header, which its pixels do not fill.
    fn claiming(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = png(colors());
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let mut crc = Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        bytes
    }

    #[test]
    fn a_decompression_bomb_is_an_error() {
        let expected = "is an image of 20000 × 10000 pixels or 600000000 bytes";
        assert_eq!(too_large(&claiming(20_000, 10_000)), expected);
        for (width, height) in [(60_000, 60_000), (0x7fff_ffff, 0x7fff_ffff), (0, 4), (u32::MAX, 1)] {
            let error = try_read(&claiming(width, height), 4, Channels::Rgb).expect_err("it is not so large");
            assert!(
                matches!(error.problem, Problem::TooLarge { .. } | Problem::Decode { .. }),
                "{width} × {height}: {error}"
            );
        }
        let mut bytes = jpeg(colors());
        let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
        assert_eq!(too_large(&bytes), "is an image of 65535 × 65535 pixels or 12884508675 bytes");
    }

    /// A remark as long as nearly the whole file, which the decoder holds more than once.
    #[test]
    fn the_decoder_is_limited_too() {
        let chunk = [&b"tEXtTitle\0"[..], &[b'a'; 90_000]].concat();
        let mut crc = Crc::new();
        crc.update(&chunk);
        let length = (chunk.len() as u32 - 4).to_be_bytes();
        let whole = png(colors());
        let bytes = [&whole[..33], &length, &chunk, &crc.sum().to_be_bytes(), &whole[33..]].concat();
        let (_folder, path) = file(&bytes);
        assert!(decode(&path, 1 << 20).is_ok());
        let error = decode(&path, 100_000).expect_err("the remark is too long");
        assert!(
            matches!(&error.problem, Problem::Decode { reason, .. } if reason == "Memory limit exceeded"),
            "{error}"
        );
    }

    #[test]
    fn a_long_file_is_not_read_whole() {
        let (_folder, path) = file(&[7; 100]);
        assert_eq!(all_bytes(&path, 100).unwrap(), [7; 100]);
        let error = all_bytes(&path, 99).expect_err("the file goes on");
        assert!(matches!(error.problem, Problem::TooLarge { limit: Some(99), .. }), "{error}");
    }

    /// A row of one pixel, black by its palette, which ends within its second color.
    fn with_broken_palette() -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = |name: &[u8], data: &[u8]| {
            let mut crc = Crc::new();
            crc.update(name);
            crc.update(data);
            bytes.extend([&(data.len() as u32).to_be_bytes(), name, data, &crc.sum().to_be_bytes()].concat());
        };
        chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0]);
        chunk(b"PLTE", &[0; 4]);
        let mut pixels = ZlibEncoder::new(Vec::new(), Compression::fast());
        pixels.write_all(&[0, 0]).unwrap();
        chunk(b"IDAT", &pixels.finish().unwrap());
        chunk(b"IEND", &[]);
        bytes
    }

    /// Another version of the decoder may read it.
    #[test]
    fn a_broken_palette_does_not_panic() {
        if let Err(error) = try_read(&with_broken_palette(), 1, Channels::Gray) {
            assert!(matches!(error.problem, Problem::Decode { .. }), "{error}");
        }
    }

    /// `panic!` throws a `String`, or a `&str` where the compiler knows what to fill in.
    #[test]
    fn a_panic_of_the_decoder_is_an_error() {
        let path = Path::new("a.png");
        let error = |decode: fn() -> Result<(), DataError>| match without_panics(path, decode).unwrap_err() {
            DataError { problem: Problem::Decode { reason, .. }, .. } => reason,
            other => panic!("{other}"),
        };
        let expected = "the decoder has panicked: ";
        assert_eq!(error(|| panic!("{} is too much", black_box(7))), format!("{expected}7 is too much"));
        assert_eq!(error(|| panic!("too much")), format!("{expected}too much"));
        assert_eq!(error(|| panic::resume_unwind(Box::new(7))), format!("{expected}without a message"));
        assert_eq!(without_panics(path, || Ok(7)).unwrap(), 7);
    }

    /// The decoder ends this sentence with a new line.
    #[test]
    fn what_the_decoder_says_is_one_line() {
        match problem(b"\xff\xd8\xff\xd0\xff\xd9") {
            Problem::Decode { reason, .. } => {
                assert!(!reason.is_empty() && !reason.contains(['\n', '\u{fffd}']), "{reason:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// A TIFF file of one pixel of one or two samples, which mean what `photometric` says.
    fn tiff(photometric: u16, samples: u16) -> Vec<u8> {
        let (directory, length) = (8 + u32::from(samples), u32::from(samples));
        let mut bytes = [&b"II*\0"[..], &directory.to_le_bytes(), &vec![200; samples.into()]].concat();
        let entries: [(u16, u16, u32, u32); 9] = [
            (256, 3, 1, 1),
            (257, 3, 1, 1),
            (258, 3, length, if samples == 1 { 8 } else { 0x0008_0008 }),
            (259, 3, 1, 1),
            (262, 3, 1, photometric.into()),
            (273, 4, 1, 8),
            (277, 3, 1, samples.into()),
            (278, 3, 1, 1),
            (279, 4, 1, length),
        ];
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(
                [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()]
                    .concat(),
            );
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn a_tiff_file_of_other_pixels_says_how_it_is_read() {
        assert_eq!(gray(&tiff(1, 1), 1), [200]);
        // A palette, and gray with something else.
        for (photometric, samples) in [(3, 1), (1, 2)] {
            let (_folder, path) = file(&tiff(photometric, samples));
            for error in [check(&path), read(&path, square(1, Channels::Gray), &mut [0])] {
                let error = error.unwrap_err();
                assert!(matches!(error.problem, Problem::Format { .. }), "{error}");
                assert!(error.hint().is_some_and(|hint| hint.contains("PNG")), "{error}");
            }
        }
    }

    #[test]
    fn damaged_pixels_are_an_error() {
        let mut bytes = png(colors());
        let data = bytes.windows(4).position(|chunk| chunk == b"IDAT").unwrap();
        bytes[data + 12] ^= 0x55;
        assert!(matches!(problem(&bytes), Problem::Decode { .. }));
    }
}
