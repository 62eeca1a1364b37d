//! Losses against steps or noise levels.

use super::axis::{Axis, axes, bounds, padded};
use super::{ACCENT, Canvas, DrawResult, FAINT, LOUD, OVERSAMPLING, PictureError, pixels, plot};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Draws loss against step, 900 × 540 pixels: every loss faint, their running mean strong, and `others`, which were measured
/// now and then, with a dot each; their names are a legend.
///
/// The mean is over the nearest 2 % of the points. The loss axis is logarithmic where all losses are
/// positive and span more than a factor of ten. Points that are not finite, or beyond ±10¹⁰⁰, are left out; of `points` they
/// are counted beside the title and marked at the foot of the picture.
///
/// # Shapes
/// - `points`, and those of each of `others`: `(step, loss)` in the order of the steps; there may be none
///
/// # Errors
/// If the file cannot be written (its folder must exist).
pub fn curve(
    path: &Path,
    points: &[(f64, f64)],
    others: &[(&str, &[(f64, f64)])],
    title: &str,
) -> Result<(), PictureError> {
    let (good, bad): (Vec<(f64, f64)>, Vec<_>) = points.iter().partition(|point| is_usable(point));
    let others: Vec<(&str, Vec<(f64, f64)>)> = others
        .iter()
        .map(|(name, points)| (*name, points.iter().copied().filter(is_usable).collect()))
        .collect();
    let measured = others.iter().flat_map(|(_, points)| points);
    let (low, high) = bounds(good.iter().chain(measured).map(|point| point.1), 0.0).unwrap_or((0.0, 1.0));
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
        let mut chart = axes(root, &caption, steps_axis(points), y)?;
        let mean = running_mean(&good);
        chart.draw_series(LineSeries::new(extremes(&good), ACCENT.mix(0.5)))?;
        chart.draw_series(LineSeries::new(mean.iter().copied(), ACCENT.stroke_width(2 * OVERSAMPLING)))?;
        if let [only] = good[..] {
            chart.draw_series([Circle::new(only, pixels(4), ACCENT.filled())])?;
        }
        let marked = bad.iter().filter(|(step, _)| step.abs() < 1e100);
        chart.draw_series(marked.map(|&(step, _)| {
            EmptyElement::at((step, foot)) + TriangleMarker::new((0, -pixels(3)), pixels(6), LOUD.filled())
        }))?;
        if good.len() > 1 {
            legend(root, 0, "each step", &ACCENT.mix(0.5))?;
            legend(root, 1, "running mean", &ACCENT)?;
        }
        // The faint one is for what matters less.
        let colors = COLORS.into_iter().filter(|color| ![ACCENT, FAINT].contains(color));
        for (i, ((name, points), color)) in others.iter().zip(colors).enumerate() {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2 * OVERSAMPLING)))?;
            chart.draw_series(points.iter().map(|&point| Circle::new(point, pixels(4), color.filled())))?;
            legend(root, i + 2, name, &color)?;
        }
        Ok(())
    })
}

/// Draws the learning rate against the step, 900 × 540 pixels; points that are not finite are left out.
///
/// # Shapes
/// - `points`: `(step, rate)` in the order of the steps; there may be none
///
/// # Errors
/// If the file cannot be written (its folder must exist).
pub fn rates(path: &Path, points: &[(f64, f64)], title: &str) -> Result<(), PictureError> {
    let good: Vec<(f64, f64)> = points.iter().copied().filter(is_usable).collect();
    let (_, high) = bounds(good.iter().map(|point| point.1), 0.0).unwrap_or((0.0, 1.0));
    plot(path, (900, 540), |root| {
        // With room for the legend.
        let y = Axis::linear("learning rate", -0.05 * high..1.25 * high.max(f64::MIN_POSITIVE));
        let mut chart = axes(root, title, steps_axis(points), y)?;
        chart.draw_series(LineSeries::new(extremes(&good), ACCENT.stroke_width(2 * OVERSAMPLING)))?;
        if let [only] = good[..] {
            chart.draw_series([Circle::new(only, pixels(4), ACCENT.filled())])?;
        }
        legend(root, 0, "learning rate", &ACCENT)
    })
}

/// Whether a point can be drawn.
fn is_usable((step, value): &(f64, f64)) -> bool {
    step.abs() < 1e100 && value.abs() < 1e100
}

/// From the first step to the last.
fn steps_axis(points: &[(f64, f64)]) -> Axis {
    let steps = bounds(points.iter().map(|point| point.0).filter(|step| step.abs() < 1e100), 0.0);
    Axis::linear("step", steps.map_or(0.0..1.0, |(first, last)| padded(first, last, 0.0)))
}

/// The name of the curve number `row` in its color, below those before it.
fn legend(root: &Canvas, row: usize, name: &str, color: &impl Color) -> DrawResult<()> {
    let font = ("sans-serif", pixels(17)).into_font().color(color);
    let style = font.pos(Pos::new(HPos::Right, VPos::Center));
    root.draw_text(name, &style, (pixels(860), pixels(62 + 22 * row as i32)))?;
    Ok(())
}

/// The lowest and the highest of points that fall into one place: of a million the picture is the same, and soon drawn.
pub fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 2 * PLACES {
        return points.to_vec();
    }
    let ends = |near: &[(f64, f64)]| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends =
            Vec::from_iter(near.iter().min_by(by_value).into_iter().chain(near.iter().max_by(by_value)));
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.into_iter().copied().collect::<Vec<_>>()
    };
    points.chunks(points.len().div_ceil(PLACES)).flat_map(ends).collect()
}

/// More than a plot has columns.
const PLACES: usize = 2_400;

/// Of several curves, which differ in lightness as well as in hue.
const COLORS: [RGBColor; 10] = [
    ACCENT,
    RGBColor(214, 110, 20),
    FAINT,
    RGBColor(30, 150, 110),
    RGBColor(150, 60, 150),
    RGBColor(200, 60, 60),
    RGBColor(100, 180, 220),
    RGBColor(120, 100, 40),
    RGBColor(230, 150, 190),
    RGBColor(90, 90, 90),
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
    let all = curves.iter().flat_map(|(_, points)| points.iter().copied().filter(usable));
    let (left, right) = bounds(all.map(|point| point.0), 0.0).unwrap_or((0.1, 10.0));
    draw_curves(path, title, Axis::logarithmic(x_name, left, right), y_name, curves, usable)
}

/// Draws several curves over steps, likewise, but for values that are 0 or below, which have a place too.
///
/// # Errors
/// If the file cannot be written (its folder must exist).
pub fn curves_over_steps(
    path: &Path,
    title: &str,
    y_name: &'static str,
    curves: &[(&str, Vec<(f64, f64)>)],
) -> Result<(), PictureError> {
    let all = curves.iter().flat_map(|(_, points)| points.iter().copied().filter(drawable));
    let steps = bounds(all.map(|point| point.0), 0.0);
    let x = steps.map_or(0.0..1.0, |(first, last)| padded(first, last, 0.0));
    draw_curves(path, title, Axis::linear("step", x), y_name, curves, drawable)
}

/// Whether a point has a place on logarithmic axes.
fn usable(&(x, y): &(f64, f64)) -> bool {
    [x, y].iter().all(|value| (1e-100..1e100).contains(value))
}

/// Whether a point has a place on linear axes.
fn drawable(&(x, y): &(f64, f64)) -> bool {
    [x, y].iter().all(|value| value.abs() < 1e100)
}

fn draw_curves(
    path: &Path,
    title: &str,
    x: Axis,
    y_name: &'static str,
    curves: &[(&str, Vec<(f64, f64)>)],
    is_drawn: fn(&(f64, f64)) -> bool,
) -> Result<(), PictureError> {
    let all = curves.iter().flat_map(|(_, points)| points.iter().copied().filter(is_drawn));
    let (low, high) = bounds(all.map(|point| point.1), 0.0).unwrap_or((0.1, 1.0));
    let y = if low > 1e-100 && high > 10.0 * low {
        Axis::logarithmic(y_name, low, high)
    } else {
        Axis::linear(y_name, padded(low, high, 0.05))
    };
    let colors = COLORS.into_iter().cycle();

    plot(path, (900, 540), |root| {
        let mut chart = axes(root, title, x, y)?;
        for (i, ((name, points), color)) in curves.iter().zip(colors).enumerate() {
            let points: Vec<(f64, f64)> = points.iter().copied().filter(is_drawn).collect();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2 * OVERSAMPLING)))?;
            chart.draw_series(points.iter().map(|&point| Circle::new(point, pixels(4), color.filled())))?;
            legend(root, i, name, &color)?;
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
