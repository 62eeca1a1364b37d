//! What kind of image a file holds, by what it begins with.

use image::ImageFormat;

/// The formats that are read, for messages.
pub(crate) const READ: &str = "a PNG, JPEG, WebP, BMP, GIF, TIFF or PNM file";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An image of a format that is read.
    Image(ImageFormat),
    /// An image of another format, with its article, e.g. `a HEIC file`.
    Foreign(&'static str),
    /// Called an image of another format, with its article; what it holds says nothing.
    Named(&'static str),
    /// Not an image.
    Other,
}

/// Endings of images that are read; a file that has one and holds something else is an image that is broken.
const READ_ENDINGS: [&str; 19] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "jif", "webp", "bmp", "dib", "gif", "tif", "tiff", "ppm",
    "pgm", "pbm", "pnm", "pam", "jfi",
];

/// Endings of images that are not read.
const FOREIGN_ENDINGS: [(&str, &[&str]); 20] = [
    ("a HEIC file", &["heic", "heif", "hif", "heics"]),
    ("an AVIF file", &["avif", "avifs"]),
    ("a JPEG XL file", &["jxl"]),
    ("a JPEG 2000 file", &["jp2", "j2k", "jpx", "jpf", "j2c", "jpc"]),
    ("a JPEG XR file", &["jxr", "wdp", "hdp"]),
    ("a Photoshop file", &["psd", "psb"]),
    ("a GIMP file", &["xcf"]),
    ("an SVG drawing", &["svg", "svgz"]),
    ("an icon", &["ico", "cur", "icns"]),
    ("a Targa file", &["tga"]),
    ("a DDS file", &["dds"]),
    ("an OpenEXR file", &["exr"]),
    ("a Radiance file", &["hdr"]),
    ("a QOI file", &["qoi"]),
    ("a PCX file", &["pcx", "dcx"]),
    ("an SGI file", &["sgi"]),
    ("a Windows metafile", &["wmf", "emf"]),
    ("a PFM file", &["pfm"]),
    ("a DjVu file", &["djvu", "djv"]),
    (
        RAW,
        &[
            "cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "srf", "dng", "orf", "rw2", "raf", "pef", "srw",
            "3fr", "dcr", "kdc", "erf", "mos", "iiq", "rwl", "x3f",
        ],
    ),
];

const RAW: &str = "a camera's raw file";

/// Beginnings of images that are not read.
const FOREIGN: [(&[u8], &str); 24] = [
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51\0", "a JPEG 2000 file"),
    (b"II\xbc\x01", "a JPEG XR file"),
    (b"8BPS\0", "a Photoshop file"),
    (b"gimp xcf ", "a GIMP file"),
    (b"DDS \x7c\0\0\0", "a DDS file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR file"),
    (b"#?RADIANCE", "a Radiance file"),
    (b"#?RGBE", "a Radiance file"),
    (b"qoif", "a QOI file"),
    (b"farbfeld", "a farbfeld file"),
    (b"FLIF", "a FLIF file"),
    (b"BPG\xfb", "a BPG file"),
    (b"\x8aMNG\r\n\x1a\n", "an MNG file"),
    (b"\x8bJNG\r\n\x1a\n", "a JNG file"),
    (b"AT&TFORM", "a DjVu file"),
    (b"icns\0", "an icon"),
    (b"\x59\xa6\x6a\x95", "a Sun raster file"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIU\0", RAW),
    (b"IIRO", RAW),
    (b"MMOR", RAW),
    (b"II\x1a\0\0\0HEAPCCDR", RAW),
];

impl Content {
    /// What a file is that begins with `start` and whose name ends in a dot and `ending`.
    pub(crate) fn of(start: &[u8], ending: &str) -> Self {
        let is_raw = || foreign_by_ending(ending) == Some(RAW);
        match Self::of_beginning(start) {
            // Cameras put their raw files into the frame of a TIFF file, beside a small picture.
            Self::Image(ImageFormat::Tiff) if start[8..].starts_with(b"CR\x02") || is_raw() => {
                Self::Foreign(RAW)
            }
            Self::Other
                if start.starts_with(b"\xff\x0a")
                    && (has_image_ending(ending) || foreign_by_ending(ending).is_some()) =>
            {
                Self::Foreign("a JPEG XL file")
            }
            Self::Other => foreign_by_ending(ending).map_or(Self::Other, Self::Named),
            known => known,
        }
    }

    /// The format that a file begins as.
    fn of_beginning(start: &[u8]) -> Self {
        if let Some((_, name)) = FOREIGN.iter().find(|(beginning, _)| start.starts_with(beginning)) {
            return Self::Foreign(name);
        }
        match start {
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] if start.len() > 8 => {
                Self::Image(ImageFormat::Tiff)
            }
            [b'B', b'M', ..] => {
                if is_bmp(start) {
                    Self::Image(ImageFormat::Bmp)
                } else {
                    Self::Other
                }
            }
            [b'P', b'1'..=b'7', ..] => {
                if is_pnm(start) {
                    Self::Image(ImageFormat::Pnm)
                } else {
                    Self::Other
                }
            }
            [0, 0, 1 | 2, 0, 1..=255, 0, _, _, _, 0, ..] => Self::Foreign("an icon"),
            [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => of_brands(start, brands),
            _ if is_svg(start) => Self::Foreign("an SVG drawing"),
            _ => match image::guess_format(start) {
                Ok(
                    format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP),
                ) => Self::Image(format),
                _ => Self::Other,
            },
        }
    }
}

/// Whether a file of this ending says that it is an image which is read.
pub(crate) fn has_image_ending(ending: &str) -> bool {
    READ_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn foreign_by_ending(ending: &str) -> Option<&'static str> {
    let mut kinds = FOREIGN_ENDINGS.iter();
    kinds
        .find(|(_, known)| known.iter().any(|known| ending.eq_ignore_ascii_case(known)))
        .map(|(name, _)| *name)
}

/// Two letters tell little, so the length of the second header must be one of those that there are.
fn is_bmp(start: &[u8]) -> bool {
    matches!(start.get(14..18), Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
}

/// `P`, a digit, and then white space and a number or a remark; `P7` has words.
fn is_pnm(start: &[u8]) -> bool {
    let rest = &start[2..];
    let words = rest.trim_ascii_start();
    let is_parted = words.len() < rest.len();
    match start[1] {
        b'7' => {
            rest.starts_with(b"\n") && words.first().is_some_and(|c| c.is_ascii_uppercase() || *c == b'#')
        }
        _ => {
            is_parted && words.first().is_some_and(|c| c.is_ascii_digit() || *c == b'#')
                || rest.starts_with(b"#")
        }
    }
}

/// Text whose first element is `svg`.
fn is_svg(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    text.starts_with(b"<svg")
        || (text.starts_with(b"<?xml") || text.starts_with(b"<!DOCTYPE svg") || text.starts_with(b"<!--"))
            && text.windows(4).any(|window| window == b"<svg")
}

/// The family of formats whose brands tell still pictures from videos.
fn of_brands(start: &[u8], brands: &[u8]) -> Content {
    let length = u32::from_be_bytes([start[0], start[1], start[2], start[3]]) as usize;
    let within = &brands[..brands.len().min(length.saturating_sub(8))];
    let has = |wanted: &[&[u8]]| within.chunks_exact(4).any(|brand| wanted.contains(&brand));
    let first: &[u8] = within.get(..4).unwrap_or_default();
    if first == b"crx " {
        return Content::Foreign(RAW);
    }
    if has(&[b"avif", b"avis"]) {
        return Content::Foreign("an AVIF file");
    }
    if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"])
        || [&b"mif1"[..], b"msf1"].contains(&first)
    {
        return Content::Foreign("a HEIC file");
    }
    Content::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_tells_the_format() {
        for (start, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], ImageFormat::Png),
            (b"\xff\xd8\xff\xe0\0\x10", ImageFormat::Jpeg),
            (b"GIF87a\x01\0", ImageFormat::Gif),
            (b"RIFF\x10\0\0\0WEBPVP8 ", ImageFormat::WebP),
            (b"II*\0\x08\0\0\0\0", ImageFormat::Tiff),
            (b"MM\0+\0\x08\0\0\0", ImageFormat::Tiff),
            (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", ImageFormat::Bmp),
            (b"P5 4 4 255\n", ImageFormat::Pnm),
            (b"P3\n# made by hand\n4 4", ImageFormat::Pnm),
            (b"P7\nWIDTH 4\n", ImageFormat::Pnm),
        ] {
            // Whatever the name says.
            for ending in ["", "jpg", "txt", "heic"] {
                assert_eq!(Content::of(start, ending), Content::Image(expected), "{start:?} {ending}");
            }
        }
    }

    #[test]
    fn known_images_that_are_not_read_have_a_name() {
        for (start, ending, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "jpg", "a HEIC file"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "", "a HEIC file"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "png", "an AVIF file"),
            (b"\xff\x0a\xfa\x1f", "jxl", "a JPEG XL file"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "jpg", "a JPEG XL file"),
            (b"8BPS\0\x01", "", "a Photoshop file"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=", "xml", "an SVG drawing"),
            (b"II*\0\x10\0\0\0CR\x02\0", "cr2", RAW),
            (b"II*\0\x08\0\0\0\0\0\0\0", "NEF", RAW),
            (b"\0\0\x01\0\x02\0\x10\x10\0\0\x01\0", "ico", "an icon"),
        ] {
            assert_eq!(Content::of(start, ending), Content::Foreign(expected), "{start:?}");
        }
        assert_eq!(Content::of(b"no image", "HEIC"), Content::Named("a HEIC file"));
    }

    /// Text that begins as some formats do is text.
    #[test]
    fn what_is_no_image_is_none() {
        for start in [
            &b""[..],
            b"B",
            b"P",
            b"P5",
            b"BMW is a make of cars, and this is a text about them",
            b"P1 is the first prize",
            b"P6x",
            b"P7 is a locomotive",
            b"\xff\x0a\xfa",
            b"II",
            b"II*\0",
            b"<?xml version=\"1.0\"?>\n<annotation>",
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
            b"PK\x03\x04",
            b"RIFF\x10\0\0\0WAVEfmt ",
        ] {
            assert_eq!(Content::of(start, "txt"), Content::Other, "{start:?}");
        }
    }
}
