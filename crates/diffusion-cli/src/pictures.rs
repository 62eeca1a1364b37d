//! Pictures of a training run, as PNG files: scatter plots, grids of images and loss curves.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::io::{self, Cursor, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{error, fs, process, sync::OnceLock};

/// Why a picture could not be made; `path` is the picture that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Slices whose lengths do not belong together.
    #[error("cannot draw {path}: found {found} {what}, expected {expected}")]
    Length { path: PathBuf, what: &'static str, found: usize, expected: usize },
    /// Images that are neither grey nor in colour.
    #[error("cannot draw {path}: found images of {found} channels, expected 1 or 3")]
    Channels { path: PathBuf, found: usize },
    /// The plotting library gave up.
    #[error("cannot draw {path}")]
    Draw { path: PathBuf, source: Box<dyn error::Error + Send + Sync> },
    /// The pixels did not become a PNG file.
    #[error("cannot encode {path} as PNG")]
    Encode { path: PathBuf, source: image::ImageError },
    /// The file system refused.
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Draws `samples` as translucent dots over `data` in grey, 800 × 800 pixels.
///
/// Both axes have one scale, set by the data alone (by the central 98 % of the samples where there is no
/// data): wild and non-finite samples are left out, and the caption counts them.
///
/// # Shapes
/// - `data`, `samples`: points `[x, y]`, in any number and unit
/// - `labels`: one per sample, any numbers; each label has its own colour
///
/// # Errors
/// If `labels` and `samples` differ in length, or the file cannot be written (its folder must exist).
pub fn scatter(
    path: &Path,
    data: &[[f32; 2]],
    samples: &[[f32; 2]],
    labels: Option<&[usize]>,
) -> Result<(), PictureError> {
    if let Some(labels) = labels {
        check_length(path, "labels", labels.len(), samples.len())?;
    }
    let (shown, trimmed) = if data.is_empty() { (samples, 0.01) } else { (data, 0.0) };
    let [x, y] = square(shown, trimmed);
    let inside = |point: &[f32; 2]| x.contains(&point[0].into()) && y.contains(&point[1].into());
    let outside = samples.iter().filter(|point| !inside(point)).count();

    let mut caption = format!("{} samples", samples.len());
    if !data.is_empty() {
        caption += &format!(" over {} data points (grey)", data.len());
    }
    if outside > 0 {
        caption += &format!(", {outside} outside the frame");
    }
    let hues = labels.and_then(|labels| labels.iter().max()).map_or(1, |most| most.saturating_add(1));
    let colour = |k: usize| labels.map_or(ACCENT, |labels| label_colour(labels[k], hues));

    plot(path, (800, 800), |root| {
        let chart = axes(root, &caption, Axis::linear("", x.clone()), Axis::linear("", y.clone()))?;
        let area = chart.plotting_area();
        for point in data.iter().filter(|point| inside(point)) {
            area.draw(&dot(point, data.len(), FAINT))?;
        }
        for (k, point) in samples.iter().enumerate().filter(|(_, point)| inside(point)) {
            area.draw(&dot(point, samples.len(), colour(k)))?;
        }
        Ok(())
    })
}

/// Lays images out row by row on white, 2 pixels apart.
///
/// Values beyond [−1, 1] are clamped, and a pixel with a non-finite channel is magenta. Small images are
/// enlarged by the least whole factor that makes the picture 600 pixels wide, each pixel a sharp square.
///
/// # Shapes
/// - `images`: `[count, channels, height, width]` in one slice, values in [−1, 1], 1 or 3 channels
/// - `columns`: between 1 and `count`, else brought there; ⌈√count⌉ where `None`
///
/// # Errors
/// If `channels` is neither 1 nor 3, `images` is not of the length that the shape says, or the file cannot
/// be written (its folder must exist).
pub fn grid(
    path: &Path,
    images: &[f32],
    count: usize,
    channels: usize,
    height: usize,
    width: usize,
    columns: Option<usize>,
) -> Result<(), PictureError> {
    if channels != 1 && channels != 3 {
        return Err(PictureError::Channels { path: path.into(), found: channels });
    }
    let expected = [count, channels, height, width].into_iter().fold(1, usize::saturating_mul);
    check_length(path, "values", images.len(), expected)?;
    if images.is_empty() {
        return save(path, &RgbImage::from_pixel(600, 600, PAPER));
    }
    let columns = columns.unwrap_or((count as f64).sqrt().ceil() as usize).clamp(1, count);
    let enlarged = (600_usize.saturating_sub((columns + 1) * GAP)).div_ceil(columns * width).max(1);
    let [cell_width, cell_height] = [width, height].map(|side| side * enlarged + GAP);
    let [across, down] = [columns * cell_width, count.div_ceil(columns) * cell_height];

    let mut picture = RgbImage::from_pixel((across + GAP) as u32, (down + GAP) as u32, PAPER);
    for (k, image) in images.chunks_exact(channels * height * width).enumerate() {
        let [left, top] = [GAP + k % columns * cell_width, GAP + k / columns * cell_height];
        for (row, column) in (0..height * enlarged).flat_map(|r| (0..width * enlarged).map(move |c| (r, c))) {
            let at = row / enlarged * width + column / enlarged;
            let channel = |c: usize| image[c % channels * height * width + at];
            picture.put_pixel((left + column) as u32, (top + row) as u32, pixel([0, 1, 2].map(channel)));
        }
    }
    save(path, &picture)
}

/// Draws loss against step, 900 × 540 pixels: every loss faint, their running mean strong.
///
/// The mean is over the nearest 2 % of the points. The loss axis is logarithmic where all losses are
/// positive and span more than a factor of ten. Points that are not finite, or beyond ±10¹⁰⁰, are left out,
/// counted beside the title and marked at the foot of the picture.
///
/// # Shapes
/// - `points`: `(step, loss)` in the order of the steps; there may be none
///
/// # Errors
/// If the file cannot be written (its folder must exist).
pub fn curve(path: &Path, points: &[(f64, f64)], title: &str) -> Result<(), PictureError> {
    let usable = |value: f64| value.abs() < 1e100;
    let (good, bad): (Vec<(f64, f64)>, Vec<_>) =
        points.iter().partition(|(step, loss)| usable(*step) && usable(*loss));
    let (low, high) = bounds(good.iter().map(|point| point.1), 0.0).unwrap_or((0.0, 1.0));
    let steps = bounds(points.iter().map(|point| point.0).filter(|&step| usable(step)), 0.0);
    let x = steps.map_or(0.0..1.0, |(first, last)| padded(first, last, 0.0));
    let y = if low > 1e-100 && high > 10.0 * low {
        Axis::logarithmic("loss", low, high)
    } else {
        Axis::linear("loss", padded(low, high, 0.05))
    };
    let foot = y.range.start;
    let caption = match bad.len() {
        0 => title.to_owned(),
        count => format!("{title} ({count} of {} points not finite)", points.len()),
    };

    plot(path, (900, 540), |root| {
        let mut chart = axes(root, &caption, Axis::linear("step", x), y)?;
        let mean = running_mean(&good);
        chart.draw_series(LineSeries::new(good.iter().copied(), ACCENT.mix(0.5)))?;
        chart.draw_series(LineSeries::new(mean.iter().copied(), ACCENT.stroke_width(2 * OVERSAMPLING)))?;
        if let [only] = good[..] {
            chart.draw_series([Circle::new(only, pixels(4), ACCENT.filled())])?;
        }
        let marked = bad.iter().filter(|(step, _)| usable(*step));
        chart.draw_series(marked.map(|&(step, _)| {
            EmptyElement::at((step, foot)) + TriangleMarker::new((0, -pixels(3)), pixels(6), LOUD.filled())
        }))?;
        Ok(())
    })
}

/// Draws several curves over a logarithmic axis, 900 × 540 pixels, each with its name; points that are not finite and
/// positive are left out.
///
/// # Errors
/// If the file cannot be written (its folder must exist).
pub fn curves(
    path: &Path,
    title: &str,
    x_name: &'static str,
    curves: &[(&str, Vec<(f64, f64)>)],
) -> Result<(), PictureError> {
    let usable = |&(x, y): &(f64, f64)| [x, y].iter().all(|value| (1e-100..1e100).contains(value));
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied().filter(usable));
    let (left, right) = bounds(all().map(|point| point.0), 0.0).unwrap_or((0.1, 10.0));
    let (low, high) = bounds(all().map(|point| point.1), 0.0).unwrap_or((0.1, 1.0));
    let y = if high > 10.0 * low {
        Axis::logarithmic("loss", low, high)
    } else {
        Axis::linear("loss", padded(low, high, 0.05))
    };
    let colours = [ACCENT, RGBColor(214, 110, 20), FAINT];

    plot(path, (900, 540), |root| {
        let mut chart = axes(root, title, Axis::logarithmic(x_name, left, right), y)?;
        for (i, ((name, points), colour)) in curves.iter().zip(colours).enumerate() {
            let points: Vec<(f64, f64)> = points.iter().copied().filter(usable).collect();
            chart.draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2 * OVERSAMPLING),
            ))?;
            chart.draw_series(points.iter().map(|&point| Circle::new(point, pixels(4), colour.filled())))?;
            let font = ("sans-serif", pixels(17)).into_font().color(&colour);
            let style = font.pos(Pos::new(HPos::Right, VPos::Center));
            root.draw_text(name, &style, (pixels(860), pixels(62 + 22 * i as i32)))?;
        }
        Ok(())
    })
}

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(170, 174, 180);
const MESH: RGBColor = RGBColor(232, 234, 237);
const ACCENT: RGBColor = RGBColor(20, 86, 170);
/// Marks what is not a number.
const LOUD: RGBColor = RGBColor(255, 0, 255);

/// Pixels between the images of a grid, and around it.
const GAP: usize = 2;

/// Plots are drawn this much larger and averaged down, since the backend does not smooth all its edges.
const OVERSAMPLING: u32 = 3;

/// The length on the enlarged canvas of one given in pixels of the picture.
const fn pixels(length: i32) -> i32 {
    length * OVERSAMPLING as i32
}

type DrawResult<T> = Result<T, Box<dyn error::Error + Send + Sync>>;
type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Saves what `draw` puts on a white canvas of `OVERSAMPLING` times the size.
fn plot(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(&Canvas) -> DrawResult<()>,
) -> Result<(), PictureError> {
    static FONT: OnceLock<bool> = OnceLock::new();
    let register =
        || register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok();
    let failed = |source| PictureError::Draw { path: path.into(), source };
    if !FONT.get_or_init(register) {
        return Err(failed("the built-in font cannot be read".into()));
    }
    let (width, height) = (OVERSAMPLING * size.0, OVERSAMPLING * size.1);
    let mut picture = RgbImage::from_pixel(width, height, PAPER);
    draw(&BitMapBackend::with_buffer(&mut picture, (width, height)).into_drawing_area()).map_err(failed)?;
    save(path, &DynamicImage::ImageRgb8(picture).thumbnail_exact(size.0, size.1).into_rgb8())
}

/// Writes beside the target and renames, so that nobody sees half a picture.
fn save(path: &Path, picture: &RgbImage) -> Result<(), PictureError> {
    let mut png = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut png, ImageFormat::Png);
    encoded.map_err(|source| PictureError::Encode { path: path.into(), source })?;

    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", process::id()));
    let part = path.with_file_name(name);
    let written = fs::File::create(&part)
        .and_then(|mut file| file.write_all(png.get_ref()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        // Nothing more can be done should this fail too: the first error is the one to report.
        let _ = fs::remove_file(&part);
        PictureError::Write { path: path.into(), source }
    })
}

fn check_length(path: &Path, what: &'static str, found: usize, expected: usize) -> Result<(), PictureError> {
    let mismatch = || PictureError::Length { path: path.into(), what, found, expected };
    if found == expected { Ok(()) } else { Err(mismatch()) }
}

/// One axis: what it shows, from where to where, linear or not, and the values that get a tick.
struct Axis {
    name: &'static str,
    range: Range<f64>,
    scale: fn(f64) -> f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// Ticks 1, 2 or 5 times a power of ten apart.
    fn linear(name: &'static str, range: Range<f64>) -> Self {
        let least = (range.end - range.start) / 8.0;
        let decade = 10_f64.powf(least.log10().floor());
        let fits = [1.0, 2.0, 5.0].map(|factor| factor * decade).into_iter().find(|&step| step >= least);
        let step = fits.unwrap_or(10.0 * decade);
        let [first, last] = [(range.start / step).ceil() as i64, (range.end / step).floor() as i64];
        Self { name, range, scale: |value| value, ticks: (first..=last).map(|k| k as f64 * step).collect() }
    }

    /// Ticks at powers of ten, over a short range also at 2 and 5 times these.
    fn logarithmic(name: &'static str, low: f64, high: f64) -> Self {
        let decades = padded(low.log10(), high.log10(), 0.05);
        let span = decades.end - decades.start;
        let factors: &[f64] = if span < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers =
            (decades.start.floor() as i32..=decades.end as i32).step_by((span / 6.0).ceil() as usize);
        let range = 10_f64.powf(decades.start)..10_f64.powf(decades.end);
        let ticks = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        let ticks = ticks.filter(|tick| range.contains(tick)).collect();
        Self { name, range, scale: f64::log10, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let [value, start, end] = [*value, self.range.start, self.range.end].map(self.scale);
        first + (f64::from(last - first) * (value - start) / (end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        number(*value)
    }
}

/// At most nine digits, without trailing zeros; a power of ten where that is shorter to read.
fn number(value: f64) -> String {
    let rounded = format!("{value:.8e}").parse().unwrap_or(value);
    if rounded == 0.0 {
        "0".into()
    } else if (1e-3..1e7).contains(&rounded.abs()) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

/// A frame, ticks and a caption; 95 pixels go to these either way, so a square picture has a square frame.
fn axes<'a>(
    root: &Canvas<'a>,
    caption: &str,
    x: Axis,
    y: Axis,
) -> DrawResult<ChartContext<'a, BitMapBackend<'a>, Cartesian2d<Axis, Axis>>> {
    let font = |size: i32| ("sans-serif", pixels(size)).into_font().color(&INK);
    root.draw_text(caption, &font(20).pos(Pos::new(HPos::Left, VPos::Center)), (pixels(70), pixels(25)))?;
    let (x_name, y_name) = (x.name, y.name);
    let mut chart = ChartBuilder::on(root)
        .margin_left(pixels(15))
        .margin_right(pixels(25))
        .margin_top(pixels(45))
        .margin_bottom(pixels(5))
        .x_label_area_size(pixels(45))
        .y_label_area_size(pixels(55))
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .bold_line_style(MESH.stroke_width(OVERSAMPLING))
        .axis_style(FAINT.stroke_width(OVERSAMPLING))
        .set_all_tick_mark_size(pixels(4))
        .label_style(font(15))
        .axis_desc_style(font(17))
        .x_desc(x_name)
        .y_desc(y_name)
        .draw()?;
    Ok(chart)
}

/// The more dots, the smaller and fainter each.
fn dot(&[x, y]: &[f32; 2], count: usize, colour: RGBColor) -> Circle<(f64, f64), i32> {
    let crowding = (2000.0 / count.max(1) as f64).sqrt();
    let radius = if crowding > 0.5 { pixels(2) } else { pixels(2) - 1 };
    Circle::new((x.into(), y.into()), radius, colour.mix((0.7 * crowding).clamp(0.25, 0.7)).filled())
}

/// Hues evenly apart, neighbours also apart in lightness, none too pale for white paper.
fn label_colour(label: usize, count: usize) -> RGBColor {
    let lightness = if label.is_multiple_of(2) { 0.48 } else { 0.32 };
    let (red, green, blue) = HSLColor(label as f64 / count as f64, 0.75, lightness).rgb();
    RGBColor(red, green, blue)
}

fn pixel(channels: [f32; 3]) -> Rgb<u8> {
    if channels.iter().all(|value| value.is_finite()) {
        Rgb(channels.map(|value| ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8))
    } else {
        Rgb([LOUD.0, LOUD.1, LOUD.2])
    }
}

/// Two ranges of one length around the points, without the share `trimmed` of the extremes on each side.
fn square(points: &[[f32; 2]], trimmed: f64) -> [Range<f64>; 2] {
    let extremes = [0, 1].map(|axis| {
        bounds(points.iter().map(|point| f64::from(point[axis])), trimmed).unwrap_or((-1.0, 1.0))
    });
    let middles = extremes.map(|(low, high)| (low + high) / 2.0);
    let half = extremes.map(|(low, high)| (high - low) / 2.0).into_iter().fold(0.0, f64::max);
    let far = middles[0].abs().max(middles[1].abs());
    let Range { start, end } = padded(far - half, far + half, 0.1);
    middles.map(|middle| middle - (end - start) / 2.0..middle + (end - start) / 2.0)
}

/// The smallest and the largest finite value, once the share `trimmed` is gone from each side.
fn bounds(values: impl Iterator<Item = f64>, trimmed: f64) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let cut = (trimmed * values.len() as f64) as usize;
    Some((*values.get(cut)?, values[values.len() - 1 - cut]))
}

/// Widens a range by `share` of its length on each side; one without length gets one.
fn padded(low: f64, high: f64, share: f64) -> Range<f64> {
    let least = (1e-6 * low.abs().max(high.abs())).max(1e-100);
    let margin = if high - low > least { share * (high - low) } else { (low.abs() / 2.0).max(0.5) };
    low - margin..high + margin
}

/// Means over the nearest 2 % of the points, at 500 of them or fewer: more would not be seen.
fn running_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 100;
    let every = points.len().div_ceil(500).max(1);
    let mean = |k: usize| {
        let near = &points[k.saturating_sub(reach)..points.len().min(k + reach + 1)];
        (points[k].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).step_by(every).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(draw: impl FnOnce(&Path) -> Result<(), PictureError>) -> RgbImage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("picture.png");
        draw(&path).expect("a picture");
        image::open(&path).expect("a PNG file").to_rgb8()
    }

    /// Where `(x, y)`, given as shares of the frame from its lower left corner, is in a plot.
    fn at(picture: &RgbImage, x: f64, y: f64) -> Rgb<u8> {
        let [width, height] = [picture.width(), picture.height()].map(|side| f64::from(side) - 95.0);
        *picture.get_pixel((70.0 + x * width) as u32, (45.0 + (1.0 - y) * height) as u32)
    }

    fn close(found: Rgb<u8>, RGBColor(red, green, blue): RGBColor, opacity: f64) -> bool {
        let expected = [red, green, blue].map(|c| 255.0 + (f64::from(c) - 255.0) * opacity);
        found.0.iter().zip(expected).all(|(&found, expected)| (f64::from(found) - expected).abs() < 4.0)
    }

    fn caption(picture: &RgbImage) -> Vec<u8> {
        image::imageops::crop_imm(picture, 0, 0, picture.width(), 40).to_image().into_raw()
    }

    // The wider side of this data sets the frame for both, ±1.1·1.2 = ±1.32, and the rest follows from it:
    // the share s of the frame is at −1.32 + 2.64·s.
    const DATA: [[f32; 2]; 2] = [[-1.1, -0.1], [1.1, 0.1]];
    const SAMPLES: [[f32; 2]; 2] = [[0.396, -0.924], [-0.396, 0.924]];

    #[test]
    fn dots_lie_at_their_points_on_equal_axes() {
        let picture = drawn(|path| scatter(path, &DATA, &SAMPLES, None));
        assert!(close(at(&picture, 0.65, 0.15), ACCENT, 0.7));
        assert!(close(at(&picture, 0.35, 0.85), ACCENT, 0.7));
        assert!(close(at(&picture, 2.42 / 2.64, 1.42 / 2.64), FAINT, 0.7));
        assert_eq!(at(&picture, 0.65, 0.85), PAPER);
    }

    #[test]
    fn labels_have_their_own_readable_colours() {
        let picture = drawn(|path| scatter(path, &DATA, &SAMPLES, Some(&[5, 0])));
        assert!(close(at(&picture, 0.65, 0.15), label_colour(5, 6), 0.7));
        assert!(close(at(&picture, 0.35, 0.85), label_colour(0, 6), 0.7));

        let colours: Vec<_> = (0..96).map(|label| label_colour(label, 96)).collect();
        for (k, &colour) in colours.iter().enumerate() {
            assert!(
                colours[..k].iter().all(|other| other.rgb() != colour.rgb()),
                "label {k} shares its colour"
            );
            let RGBColor(red, green, blue) = colour;
            let luma = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
            assert!(luma < 200.0, "label {k} is too pale: luma {luma}");
        }
    }

    #[test]
    fn wild_samples_are_counted_and_leave_the_frame_alone() {
        let tame = drawn(|path| scatter(path, &DATA, &[SAMPLES[0]; 4], None));
        let wild = [[f32::NAN, 0.0], [0.0, f32::INFINITY], [1e38, -1e38], SAMPLES[0]];
        let picture = drawn(|path| scatter(path, &DATA, &wild, None));
        assert!(close(at(&picture, 0.65, 0.15), ACCENT, 0.7));
        assert_ne!(
            caption(&tame),
            caption(&picture),
            "both have four samples, but three of these are outside"
        );

        let broken = [DATA[0], [f32::NAN, f32::INFINITY], DATA[1]];
        assert_eq!(square(&broken, 0.0), square(&DATA, 0.0));
        let mut samples: Vec<_> = (0..=100).map(|k| [k as f32, 0.0]).collect();
        samples[0] = [1e30, 0.0];
        assert_eq!(square(&samples, 0.01), square(&samples[2..=100], 0.0), "one of a hundred on each side");
    }

    #[test]
    fn scatter_of_next_to_nothing_is_a_picture() {
        drawn(|path| scatter(path, &[], &[], Some(&[])));
        drawn(|path| scatter(path, &[[f32::NAN; 2]], &[[f32::MAX; 2]], None));
        let [x, y] = square(&[[100.0, 0.0]], 0.0);
        assert_eq!([x, y], [50.0..150.0, -50.0..50.0]);
    }

    #[test]
    fn grid_shows_each_pixel_of_each_image_at_its_place() {
        // Three columns, since ⌈√5⌉ = 3; enlarged 66 times, since 3·3·65 + 4·2 = 593 < 600 ≤ 602.
        let images: Vec<f32> = (0..30).map(|k| k as f32 / 14.5 - 1.0).collect();
        let picture = drawn(|path| grid(path, &images, 5, 1, 2, 3, None));
        assert_eq!(picture.dimensions(), (3 * 3 * 66 + 8, 2 * 2 * 66 + 6));
        for (k, value) in images.iter().enumerate() {
            let [image, row, column] = [k / 6, k / 3 % 2, k % 3];
            let left = 2 + image % 3 * (3 * 66 + 2) + column * 66;
            let top = 2 + image / 3 * (2 * 66 + 2) + row * 66;
            let grey = Rgb([((value + 1.0) * 127.5).round() as u8; 3]);
            assert_eq!(*picture.get_pixel(left as u32, top as u32), grey, "value {k}");
            assert_eq!(*picture.get_pixel(left as u32 + 65, top as u32 + 65), grey, "value {k}");
        }
        assert_eq!(*picture.get_pixel(1, 1), PAPER);
        assert_eq!(*picture.get_pixel(2 + 3 * 66, 50), PAPER);
        assert_eq!(*picture.get_pixel(601 - 100, 200), PAPER, "there is no sixth image");
    }

    #[test]
    fn grid_clamps_and_shouts() {
        let images = [-7.0, 1.0, 0.0, 7.0, -1.0, f32::NAN]; // [1, 3, 1, 2]
        let picture = drawn(|path| grid(path, &images, 1, 3, 1, 2, Some(9)));
        assert_eq!(*picture.get_pixel(10, 10), Rgb([0, 128, 0]));
        assert_eq!(*picture.get_pixel(500, 10), Rgb([255, 0, 255]));
        drawn(|path| grid(path, &[], 0, 3, 8, 8, Some(0)));
    }

    #[test]
    fn curve_is_straight_on_the_scale_that_suits_it() {
        let straight = (0..=100).map(|k| (k.into(), 1.0 + f64::from(k) / 25.0));
        let straight = drawn(|path| curve(path, &Vec::from_iter(straight), ""));
        let decay = (0..=100).map(|k| (k.into(), 10_f64.powf(f64::from(-k) / 25.0)));
        let decay = drawn(|path| curve(path, &Vec::from_iter(decay), ""));
        for share in [0.27, 0.5, 0.73] {
            assert!(close(at(&straight, share, (0.05 + share) / 1.1), ACCENT, 1.0));
            assert!(close(at(&decay, share, (1.05 - share) / 1.1), ACCENT, 1.0));
        }
    }

    #[test]
    fn curve_marks_and_counts_what_is_not_finite() {
        let mut points: Vec<_> = (0..=100).map(|k| (f64::from(k), 1.0 + f64::from(k % 2))).collect();
        let clean = drawn(|path| curve(path, &points, "loss"));
        (points[25].1, points[75].1, points[80].0) = (f64::NAN, f64::INFINITY, f64::NAN);
        let marked = drawn(|path| curve(path, &points, "loss"));
        for share in [0.25, 0.75] {
            assert!(
                close(at(&marked, share, 0.008), LOUD, 1.0) && !close(at(&clean, share, 0.008), LOUD, 1.0)
            );
        }
        assert!(!close(at(&marked, 0.001, 0.008), LOUD, 1.0), "a step that is not finite has no place");
        assert_ne!(caption(&clean), caption(&marked));
    }

    #[test]
    fn curve_of_next_to_nothing_or_of_extremes_is_a_picture() {
        let single = drawn(|path| curve(path, &[(7.0, 3.0)], "one"));
        assert!(close(at(&single, 0.5, 0.5), ACCENT, 1.0));
        for losses in [[0.0, 1e-323], [1e-320, 1.0], [-1e99, 1e99], [1e15, 1e15 + 1.0], [f64::NAN, f64::MAX]]
        {
            drawn(|path| curve(path, &[(0.0, losses[0]), (1e99, losses[1])], ""));
        }
        drawn(|path| curve(path, &[], ""));
    }

    #[test]
    fn running_mean_levels_what_alternates() {
        let points: Vec<_> = (0..10_000).map(|k| (f64::from(k), 5.0 + f64::from(k % 2 * 2 - 1))).collect();
        let mean = running_mean(&points);
        assert_eq!(mean.len(), 500);
        assert!(mean.iter().all(|(_, loss)| (loss - 5.0).abs() < 0.01));
    }

    #[test]
    fn ticks_are_few_and_their_numbers_short() {
        for k in 1..2000 {
            let low = f64::from(k) - 1000.0;
            let ticks = Axis::linear("", low..low + 0.01 * f64::from(k)).ticks;
            assert!((3..=9).contains(&ticks.len()), "{ticks:?}");
        }
        assert_eq!(
            Vec::from_iter(Axis::logarithmic("", 0.03, 1.2).ticks.into_iter().map(number)),
            ["0.05", "0.1", "0.2", "0.5", "1"]
        );
        assert_eq!([0.1 + 0.2, -0.0, 1e6, -2e7, 5e-4].map(number), ["0.3", "0", "1000000", "-2e7", "5e-4"]);
    }

    #[test]
    fn failures_name_the_picture_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("picture.png");
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).expect("a folder where a picture should go");
        let failures = [
            scatter(&path, &[], &[[0.0; 2]], Some(&[])),
            grid(&path, &[0.0; 7], 2, 1, 2, 2, None),
            grid(&path, &[0.0; 8], 1, 2, 2, 2, None),
            curve(&folder.path().join("nowhere/picture.png"), &[], ""),
            curve(&taken, &[], ""),
        ];
        for failure in failures {
            let message = failure.expect_err("a failure").to_string();
            assert!(message.contains(&folder.path().display().to_string()), "{message}");
        }
        let left = || fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(left(), 1);
        for _ in 0..2 {
            curve(&path, &[], "").expect("a picture, also over an older one");
            assert_eq!(left(), 2);
        }
    }
}
