//! Points in the plane, samples over data.

use super::axis::{Axis, axes, bounds, padded};
use super::{ACCENT, FAINT, PictureError, check_length, pixels, plot};
use diffusion::core::counted;
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

/// Draws `samples` as translucent dots over `data` in gray, 800 × 800 pixels.
///
/// Both axes have one scale, set by the data alone (by the central 98 % of the samples where there is no
/// data): wild and non-finite samples are left out, and the caption counts them.
///
/// # Shapes
/// - `data`, `samples`: points `[x, y]`, in any number and unit
/// - `labels`: one per sample, any numbers; each label has its own color
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

    let mut caption = counted(samples.len(), "sample");
    if !data.is_empty() {
        caption += &format!(" over {} data points (gray)", data.len());
    }
    if outside > 0 {
        caption += &format!(", {outside} outside the frame");
    }
    let hues = labels.and_then(|labels| labels.iter().max()).map_or(1, |most| most.saturating_add(1));
    let color = |k: usize| labels.map_or(ACCENT, |labels| label_color(labels[k], hues));

    plot(path, (800, 800), |root| {
        let chart = axes(root, &caption, Axis::linear("", x.clone()), Axis::linear("", y.clone()))?;
        let area = chart.plotting_area();
        for point in data.iter().filter(|point| inside(point)) {
            area.draw(&dot(point, data.len(), FAINT))?;
        }
        for (k, point) in samples.iter().enumerate().filter(|(_, point)| inside(point)) {
            area.draw(&dot(point, samples.len(), color(k)))?;
        }
        Ok(())
    })
}

/// The more dots, the smaller and fainter each.
fn dot(&[x, y]: &[f32; 2], count: usize, color: RGBColor) -> Circle<(f64, f64), i32> {
    let crowding = (2000.0 / count.max(1) as f64).sqrt();
    let radius = if crowding > 0.5 { pixels(2) } else { pixels(2) - 1 };
    Circle::new((x.into(), y.into()), radius, color.mix((0.7 * crowding).clamp(0.25, 0.7)).filled())
}

/// Hues evenly apart, neighbours also apart in lightness, none too pale for white paper.
pub fn label_color(label: usize, count: usize) -> RGBColor {
    let lightness = if label.is_multiple_of(2) { 0.48 } else { 0.32 };
    let (red, green, blue) = HSLColor(label as f64 / count as f64, 0.75, lightness).rgb();
    RGBColor(red, green, blue)
}

/// Two ranges of one length around the points, without the share `trimmed` of the extremes on each side.
pub fn square(points: &[[f32; 2]], trimmed: f64) -> [Range<f64>; 2] {
    let extremes = [0, 1].map(|axis| {
        bounds(points.iter().map(|point| f64::from(point[axis])), trimmed).unwrap_or((-1.0, 1.0))
    });
    let middles = extremes.map(|(low, high)| (low + high) / 2.0);
    let half = extremes.map(|(low, high)| (high - low) / 2.0).into_iter().fold(0.0, f64::max);
    let far = middles[0].abs().max(middles[1].abs());
    let Range { start, end } = padded(far - half, far + half, 0.1);
    middles.map(|middle| middle - (end - start) / 2.0..middle + (end - start) / 2.0)
}
