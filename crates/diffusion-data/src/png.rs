//! Writing pictures.

use crate::pixels::to_u8;
use burn::tensor::TensorData;
use diffusion_weights::write_atomically;
use png::{BitDepth, ColorType, Encoder};
use std::io::{self, Write};
use std::path::Path;

/// Writes an image as a PNG, whole or not at all; one that is there is replaced. `text` are pairs of a keyword, of at most 79
/// Latin characters, and a text, which pictures carry along: the settings that made it, e.g.
///
/// Values become bytes as [`to_u8`](crate::pixels::to_u8) says.
///
/// # Shapes
/// - `image`: `[channels, height, width]`, of one channel or three, in [−1, 1]
///
/// # Errors
/// If the file system refuses, or a keyword is none.
///
/// # Panics
/// If the shape is another one.
///
/// ```
/// use burn::tensor::TensorData;
/// use diffusion_data::write_png;
///
/// let folder = tempfile::tempdir()?;
/// let gray = TensorData::new(vec![-1.0f32, 0.0, 1.0, 1.0], [1, 2, 2]);
/// write_png(folder.path().join("gray.png"), &gray, &[("prompt", "four pixels")])?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_png(path: impl AsRef<Path>, image: &TensorData, text: &[(&str, &str)]) -> io::Result<()> {
    let &[channels, height, width] = &image.shape[..] else {
        panic!("an image has three axes: {:?}", image.shape)
    };
    let color = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        _ => panic!("an image has one channel or three, not {channels}"),
    };
    let values: Vec<f32> = image.iter::<f32>().collect();
    let pixels = height * width;
    let bytes: Vec<u8> = (0..pixels)
        .flat_map(|pixel| (0..channels).map(move |channel| channel * pixels + pixel))
        .map(|place| to_u8(values[place]))
        .collect();
    write_atomically(path.as_ref(), |file| {
        let mut png = Vec::new();
        let mut encoder = Encoder::new(&mut png, width as u32, height as u32);
        encoder.set_color(color);
        encoder.set_depth(BitDepth::Eight);
        for (keyword, text) in text {
            encoder.add_itxt_chunk((*keyword).to_string(), (*text).to_string()).map_err(invalid)?;
        }
        let mut writer = encoder.write_header().map_err(invalid)?;
        writer.write_image_data(&bytes).map_err(invalid)?;
        writer.finish().map_err(invalid)?;
        file.write_all(&png)
    })
}

fn invalid(error: png::EncodingError) -> io::Error {
    match error {
        png::EncodingError::IoError(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidInput, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::from_u8;
    use std::fs::File;
    use std::io::BufReader;

    #[test]
    fn pixels_and_texts_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let values = vec![-2.0, 2.0, from_u8(7), from_u8(8), from_u8(9), from_u8(10)];
        write_png(&path, &TensorData::new(values, [3, 1, 2]), &[("prompt", "ein süßer Fuchs 🦊")]).unwrap();
        let mut reader = png::Decoder::new(BufReader::new(File::open(&path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 7, 9, 255, 8, 10]);
        reader.finish().unwrap();
        let text = &reader.info().utf8_text[0];
        assert_eq!((&text.keyword[..], &text.get_text().unwrap()[..]), ("prompt", "ein süßer Fuchs 🦊"));
    }

    #[test]
    fn a_keyword_of_other_letters_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let image = TensorData::new(vec![0.0f32], [1, 1, 1]);
        let error = write_png(folder.path().join("a.png"), &image, &[("ключ", "x")]).unwrap_err();
        assert_eq!(
            (error.kind(), folder.path().join("a.png").exists()),
            (io::ErrorKind::InvalidInput, false)
        );
    }
}
