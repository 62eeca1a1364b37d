//! Losses against steps or noise levels.

use super::axis::{Axis, axes, bounds, padded};
use super::{ACCENT, FAINT, LOUD, OVERSAMPLING, PictureError, pixels, plot};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

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

/// Of several curves, which differ in lightness as well as in hue.
const COLORS: [RGBColor; 7] = [
    ACCENT,
    RGBColor(214, 110, 20),
    FAINT,
    RGBColor(30, 150, 110),
    RGBColor(150, 60, 150),
    RGBColor(200, 60, 60),
    RGBColor(100, 180, 220),
];

/// Draws several curves over a logarithmic axis, 900 × 540 pixels, each with its name; points that are not finite and
/// positive are left out.
///
/// # Errors
/// If the file cannot be written (its folder must exist).
pub fn curves(
    path: &Path,
    title: &str,
    [x_name, y_name]: [&'static str; 2],
    curves: &[(&str, Vec<(f64, f64)>)],
) -> Result<(), PictureError> {
    let usable = |&(x, y): &(f64, f64)| [x, y].iter().all(|value| (1e-100..1e100).contains(value));
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied().filter(usable));
    let (left, right) = bounds(all().map(|point| point.0), 0.0).unwrap_or((0.1, 10.0));
    let (low, high) = bounds(all().map(|point| point.1), 0.0).unwrap_or((0.1, 1.0));
    let y = if high > 10.0 * low {
        Axis::logarithmic(y_name, low, high)
    } else {
        Axis::linear(y_name, padded(low, high, 0.05))
    };
    let colors = COLORS.into_iter().cycle();

    plot(path, (900, 540), |root| {
        let mut chart = axes(root, title, Axis::logarithmic(x_name, left, right), y)?;
        for (i, ((name, points), color)) in curves.iter().zip(colors).enumerate() {
            let points: Vec<(f64, f64)> = points.iter().copied().filter(usable).collect();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2 * OVERSAMPLING)))?;
            chart.draw_series(points.iter().map(|&point| Circle::new(point, pixels(4), color.filled())))?;
            let font = ("sans-serif", pixels(17)).into_font().color(&color);
            let style = font.pos(Pos::new(HPos::Right, VPos::Center));
            root.draw_text(name, &style, (pixels(860), pixels(62 + 22 * i as i32)))?;
        }
        Ok(())
    })
}

/// Means over the nearest 2 % of the points, at 500 of them or fewer: more would not be seen.
pub fn running_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 100;
    let every = points.len().div_ceil(500).max(1);
    let mean = |k: usize| {
        let near = &points[k.saturating_sub(reach)..points.len().min(k + reach + 1)];
        (points[k].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).step_by(every).map(mean).collect()
}
