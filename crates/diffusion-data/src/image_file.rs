//! One image file as the bytes of a square picture of the size that is asked for.

use std::{
    fs::File,
    io::{Cursor, Read},
    panic::{self, UnwindSafe},
    path::Path,
};

use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Pixel, Rgba,
    imageops::{self, FilterType},
};

use crate::{DataError, ImageFolderConfig, image_folder::Channels};

/// The greatest length of a file, and of its pixels when they are decoded; 512 MiB.
const MAX_BYTES: u64 = 512 << 20;

/// Decodes a PNG or JPEG file into the picture that `config` describes, channel after channel and row after row.
///
/// # Shapes
/// - `into`: channels × size × size
pub(crate) fn read(path: &Path, config: ImageFolderConfig, into: &mut [u8]) -> Result<(), DataError> {
    let image = over_black(decode(path, MAX_BYTES)?);
    let pixels = match config.channels {
        Channels::Grey => square(&image.into_luma8(), config.size),
        Channels::Rgb => square(&image.into_rgb8(), config.size),
    };
    let channels = config.channels.count();
    for (c, plane) in into.chunks_exact_mut(config.size * config.size).enumerate() {
        for (byte, pixel) in plane.iter_mut().zip(pixels.chunks_exact(channels)) {
            *byte = pixel[c];
        }
    }
    Ok(())
}

/// The picture in the file, the right way up; file and picture may have `limit` bytes each.
fn decode(path: &Path, limit: u64) -> Result<DynamicImage, DataError> {
    let bytes = whole(path, limit)?;
    // What a file begins with decides, not its name.
    let format = match image::guess_format(&bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ => {
            let found = bytes[..bytes.len().min(8)].to_vec();
            return Err(DataError::NotAnImage { path: path.to_owned(), found });
        }
    };
    if format == ImageFormat::Jpeg && !has_end_of_image(&bytes) {
        return Err(DataError::JpegCut { path: path.to_owned(), found: bytes.len() });
    }

    without_panics(path, || decode_as(format, &bytes, path, limit))
}

/// The picture in a file of this format, the right way up.
fn decode_as(format: ImageFormat, bytes: &[u8], path: &Path, limit: u64) -> Result<DynamicImage, DataError> {
    let failed = |source| DataError::Image { path: path.to_owned(), source: Box::new(source) };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(limit);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    // The decoder counts against the limit what it needs for itself, but not the pixels that it gives.
    if decoder.total_bytes() > limit {
        let (width, height) = decoder.dimensions();
        return Err(DataError::ImageTooLarge {
            path: path.to_owned(),
            width,
            height,
            found: decoder.total_bytes(),
            limit,
        });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// What `decode` returns, or an error where it panics, as that of png 0.18.1 does over a palette of four bytes.
///
/// The panic is still reported on the standard error stream, unless it was told otherwise.
fn without_panics<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, DataError> + UnwindSafe,
) -> Result<T, DataError> {
    panic::catch_unwind(decode).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        let source = format!("the decoder has panicked: {text}").into();
        Err(DataError::Image { path: path.to_owned(), source })
    })
}

/// All bytes of the file, if they are at most `limit`.
fn whole(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > limit {
        return Err(DataError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Whether a JPEG file goes on until its end-of-image marker.
///
/// The decoder takes one that is cut, and fills the rest of the picture with grey.
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

/// The picture as it looks before black, without transparency.
fn over_black(image: DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let mut image = image.into_rgba8();
    for Rgba([r, g, b, alpha]) in image.pixels_mut() {
        for x in [r, g, b] {
            *x = ((u16::from(*x) * u16::from(*alpha) + 127) / 255) as u8;
        }
    }
    image.into()
}

/// The pixels of the greatest square in the middle, resized, row after row.
///
/// Lanczos' filter keeps the most detail of those at hand, and when an image is reduced, its window grows with the
/// reduction, so that fine patterns do not turn into coarse ones. A square of the right size is left as it is.
fn square<P>(image: &ImageBuffer<P, Vec<u8>>, size: usize) -> Vec<u8>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (width, height) = image.dimensions();
    let side = width.min(height);
    let middle = imageops::crop_imm(image, (width - side) / 2, (height - side) / 2, side, side);
    imageops::resize(&*middle, size as u32, size as u32, FilterType::Lanczos3).into_raw()
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

    fn try_read(bytes: &[u8], size: usize, channels: Channels) -> Result<Vec<u8>, DataError> {
        let (_folder, path) = file(bytes);
        let mut into = vec![77; channels.count() * size * size];
        read(&path, ImageFolderConfig { size, channels }, &mut into)?;
        Ok(into)
    }

    fn grey(bytes: &[u8], size: usize) -> Vec<u8> {
        try_read(bytes, size, Channels::Grey).unwrap()
    }

    fn rgb(bytes: &[u8], size: usize) -> Vec<u8> {
        try_read(bytes, size, Channels::Rgb).unwrap()
    }

    /// The error's message, with an ellipsis for the path.
    fn message(bytes: &[u8]) -> String {
        let (_folder, path) = file(bytes);
        let config = ImageFolderConfig { size: 4, channels: Channels::Rgb };
        let error = read(&path, config, &mut [0; 48]).expect_err("the file is not well formed");
        error.to_string().replace(&path.display().to_string(), "…")
    }

    /// No two bytes alike.
    fn colours() -> RgbImage {
        RgbImage::from_raw(4, 4, (0..48).map(|x| 5 * x).collect()).unwrap()
    }

    #[test]
    fn an_image_of_the_right_size_is_left_as_it_is() {
        let planes: Vec<u8> = (0..3).flat_map(|c| (0..16).map(move |i| 5 * (3 * i + c))).collect();
        assert_eq!(rgb(&png(colours()), 4), planes);
        let image = GrayImage::from_raw(4, 4, (0..16).map(|x| 16 * x).collect()).unwrap();
        assert_eq!(grey(&png(image.clone()), 4), *image.as_raw());
        assert_eq!(rgb(&png(image.clone()), 4), [&image.as_raw()[..]; 3].concat());
    }

    #[test]
    fn the_middle_is_kept() {
        let columns = GrayImage::from_fn(9, 4, |x, _| Luma([10 * x as u8]));
        assert_eq!(grey(&png(columns), 4), [20, 30, 40, 50].repeat(4));
        let rows = GrayImage::from_fn(2, 8, |_, y| Luma([10 * y as u8]));
        assert_eq!(grey(&png(rows), 2), [30, 30, 40, 40]);
    }

    /// The weights of ITU-R BT.709.
    #[test]
    fn grey_is_luma() {
        for (colour, weight) in [([255, 0, 0], 0.2126), ([0, 255, 0], 0.7152), ([0, 0, 255], 0.0722)] {
            let image = RgbImage::from_pixel(2, 2, Rgb(colour));
            for found in grey(&png(image), 2) {
                assert!((f64::from(found) - 255.0 * weight).abs() < 1.0, "{found} for {colour:?}");
            }
        }
        assert_eq!(grey(&png(RgbImage::from_pixel(2, 2, Rgb([201; 3]))), 2), [201; 4]);
    }

    /// A byte `b` stands for `257 b`, and 128 is the last that rounds down.
    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        let values = [0, 65535, 25700 + 128, 25700 + 129];
        let image = ImageBuffer::<Luma<u16>, _>::from_raw(2, 2, values.to_vec()).unwrap();
        assert_eq!(grey(&png(image), 2), [0, 255, 100, 101]);
        let colours = [values[1], values[2], values[3]].repeat(4);
        let image = ImageBuffer::<Rgb<u16>, _>::from_raw(2, 2, colours).unwrap();
        assert_eq!(rgb(&png(image), 2), [[255; 4], [100; 4], [101; 4]].concat());
    }

    #[test]
    fn transparency_is_laid_over_black() {
        let pixels = [[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 51, 128], [255, 255, 255, 1]];
        let image = RgbaImage::from_raw(2, 2, pixels.concat()).unwrap();
        // 200 · 128 / 255 = 100.4, 100 · 128 / 255 = 50.2, 51 · 128 / 255 = 25.6.
        assert_eq!(rgb(&png(image), 2), [200, 0, 100, 1, 100, 0, 50, 1, 50, 0, 26, 1]);
        let image = GrayAlphaImage::from_fn(2, 1, |x, _| LumaA([90, 255 * x as u8]));
        assert_eq!(grey(&png(image.clone()), 1), [0]);
        assert_eq!(grey(&png(imageops::flip_horizontal(&image)), 1), [90]);
    }

    /// A reduced ramp has the mean of each block, but for the outermost, where the window ends at the border.
    #[test]
    fn reducing_takes_means() {
        let ramp = GrayImage::from_fn(256, 256, |x, y| Luma([((x + y) / 2) as u8]));
        let found = grey(&png(ramp), 16);
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
        assert!(grey(&png(fine), 16).iter().all(|byte| (120..136).contains(byte)));
    }

    /// Lanczos' filter overshoots a little where brightness jumps, which keeps the edge sharp.
    #[test]
    fn reducing_keeps_edges_sharp() {
        let step = GrayImage::from_fn(64, 64, |x, _| Luma([if x < 32 { 50 } else { 200 }]));
        let row = &grey(&png(step), 16)[..16];
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
        let found = grey(&jpeg(GrayImage::from_fn(16, 16, |x, _| Luma([255 * (x / 8) as u8]))), 16);
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
            let found = grey(&oriented(orientation), 16);
            [2 * 16 + 2, 2 * 16 + 13, 13 * 16 + 2, 13 * 16 + 13].map(|i| found[i] > 128)
        };
        assert_eq!(quadrants(1), [true, false, true, false]);
        // Mirrored, and turned by a quarter clockwise: what was left comes up.
        assert_eq!(quadrants(2), [false, true, false, true]);
        assert_eq!(quadrants(6), [true, true, false, false]);
    }

    #[test]
    fn the_beginning_tells_the_format() {
        let text =
            "begins with the bytes [6e, 6f, 74, 20, 61, 6e, 20, 69], expected those of a PNG or JPEG file";
        assert_eq!(message(b"not an image"), format!("… {text}"));
        assert_eq!(message(b""), "… begins with the bytes [], expected those of a PNG or JPEG file");
        // Formats that the decoder may know, depending on what else is built with it.
        assert!(message(b"GIF89a\x01\0\x01\0").starts_with("… begins with the bytes [47, 49, 46,"));
    }

    /// What is cut from the end of a PNG file and does not change its pixels need not be missed.
    #[test]
    fn every_truncation_is_an_error() {
        let whole = png(colours());
        let end = whole.windows(4).position(|chunk| chunk == b"IEND").unwrap();
        for length in 0..whole.len() {
            match try_read(&whole[..length], 4, Channels::Rgb) {
                // Length and checksum stand around the name of a chunk.
                Ok(found) => {
                    assert!(length >= end - 8 && found == rgb(&whole, 4), "{length} of {}", whole.len())
                }
                Err(error) => assert!(error.to_string().contains("image.png"), "{error}"),
            }
        }
        let noise: Vec<u8> = (0..3 * 24 * 24_u32).map(|i| (i * i * 31 + i * 7) as u8).collect();
        let noise = RgbImage::from_raw(24, 24, noise).unwrap();
        let whole = jpeg(noise);
        assert!(try_read(&whole, 4, Channels::Rgb).is_ok());
        assert!((0..whole.len()).all(|length| !has_end_of_image(&whole[..length])));
        for length in (3..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let expected = format!(
                "… ends after {length} bytes, expected the end-of-image marker of a JPEG file before"
            );
            assert_eq!(message(&whole[..length]), expected);
        }
        assert!(try_read(&[&whole[..], b"\xff\xda\0\0more"].concat(), 4, Channels::Rgb).is_ok());
    }

    #[test]
    fn the_end_of_a_preview_is_not_the_end() {
        let preview = jpeg(RgbImage::new(2, 2));
        let whole = jpeg(colours());
        let length = (preview.len() as u16 + 2).to_be_bytes();
        let whole = [&whole[..2], &[0xff, 0xe2], &length, &preview, &whole[2..]].concat();
        assert_eq!(rgb(&whole, 4), rgb(&jpeg(colours()), 4));
        for length in [whole.len() - 1, whole.len() - 3, preview.len() + 8] {
            assert!(message(&whole[..length]).contains("expected the end-of-image marker"), "{length}");
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
        let mut bytes = png(colours());
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let mut crc = Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        bytes
    }

    #[test]
    fn a_decompression_bomb_is_an_error() {
        let expected =
            "… is an image of 20000 × 10000 pixels or 600000000 bytes, expected at most 536870912 bytes";
        assert_eq!(message(&claiming(20_000, 10_000)), expected);
        for (width, height) in [(60_000, 60_000), (0x7fff_ffff, 0x7fff_ffff), (0, 4), (u32::MAX, 1)] {
            let error = try_read(&claiming(width, height), 4, Channels::Rgb).expect_err("it is not so large");
            assert!(
                matches!(error, DataError::ImageTooLarge { .. } | DataError::Image { .. }),
                "{width} × {height}: {error}"
            );
        }
        let mut bytes = jpeg(colours());
        let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
        let expected =
            "… is an image of 65535 × 65535 pixels or 12884508675 bytes, expected at most 536870912 bytes";
        assert_eq!(message(&bytes), expected);
    }

    /// A remark as long as nearly the whole file, which the decoder holds more than once.
    #[test]
    fn the_decoder_is_limited_too() {
        let chunk = [&b"tEXtTitle\0"[..], &[b'a'; 90_000]].concat();
        let mut crc = Crc::new();
        crc.update(&chunk);
        let length = (chunk.len() as u32 - 4).to_be_bytes();
        let whole = png(colours());
        let bytes = [&whole[..33], &length, &chunk, &crc.sum().to_be_bytes(), &whole[33..]].concat();
        let (_folder, path) = file(&bytes);
        assert!(decode(&path, 1 << 20).is_ok());
        let error = decode(&path, 100_000).err().map(|error| error.to_string());
        let expected = format!("cannot decode {} as an image: Memory limit exceeded", path.display());
        assert_eq!(error, Some(expected));
    }

    #[test]
    fn a_long_file_is_not_read_whole() {
        let (_folder, path) = file(&[7; 100]);
        assert_eq!(whole(&path, 100).unwrap(), [7; 100]);
        let error = whole(&path, 99).expect_err("the file goes on").to_string();
        assert!(error.ends_with(" is longer than 99 bytes, expected at most so many"), "{error}");
    }

    /// A row of one pixel, black by its palette, which ends within its second colour.
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
        if let Err(error) = try_read(&with_broken_palette(), 1, Channels::Grey) {
            assert!(matches!(error, DataError::Image { .. }), "{error}");
        }
    }

    /// `panic!` throws a `String`, or a `&str` where the compiler knows what to fill in.
    #[test]
    fn a_panic_of_the_decoder_is_an_error() {
        let path = Path::new("a.png");
        let error =
            |decode: fn() -> Result<(), DataError>| without_panics(path, decode).unwrap_err().to_string();
        let expected = "cannot decode a.png as an image: the decoder has panicked: ";
        assert_eq!(error(|| panic!("{} is too much", black_box(7))), format!("{expected}7 is too much"));
        assert_eq!(error(|| panic!("too much")), format!("{expected}too much"));
        assert_eq!(error(|| panic::resume_unwind(Box::new(7))), format!("{expected}without a message"));
        assert_eq!(without_panics(path, || Ok(7)).unwrap(), 7);
    }

    /// The decoder ends this sentence with a new line.
    #[test]
    fn what_the_decoder_says_is_one_line() {
        let message = message(b"\xff\xd8\xff\xd0\xff\xd9");
        assert!(
            message.starts_with("cannot decode … as an image: ") && !message.contains(['\n', '\u{fffd}']),
            "{message:?}"
        );
    }

    #[test]
    fn damaged_pixels_are_an_error() {
        let mut bytes = png(colours());
        let data = bytes.windows(4).position(|chunk| chunk == b"IDAT").unwrap();
        bytes[data + 12] ^= 0x55;
        assert!(message(&bytes).starts_with("cannot decode … as an image: "));
    }
}
