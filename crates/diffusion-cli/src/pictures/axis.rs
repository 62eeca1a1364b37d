//! Axes: their ranges, scales and ticks.

use super::{Canvas, DrawResult, FAINT, INK, MESH, OVERSAMPLING, pixels};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// One axis: what it shows, from where to where, linear or not, and the values that get a tick.
pub struct Axis {
    name: &'static str,
    pub range: Range<f64>,
    scale: fn(f64) -> f64,
    pub ticks: Vec<f64>,
}

impl Axis {
    /// Ticks 1, 2 or 5 times a power of ten apart.
    pub fn linear(name: &'static str, range: Range<f64>) -> Self {
        let least = (range.end - range.start) / 8.0;
        let decade = 10_f64.powf(least.log10().floor());
        let fits = [1.0, 2.0, 5.0].map(|factor| factor * decade).into_iter().find(|&step| step >= least);
        let step = fits.unwrap_or(10.0 * decade);
        let [first, last] = [(range.start / step).ceil() as i64, (range.end / step).floor() as i64];
        Self { name, range, scale: |value| value, ticks: (first..=last).map(|k| k as f64 * step).collect() }
    }

    /// Ticks at powers of ten, over a short range also at 2 and 5 times these.
    pub fn logarithmic(name: &'static str, low: f64, high: f64) -> Self {
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
pub fn number(value: f64) -> String {
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
pub fn axes<'a>(
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

/// The smallest and the largest finite value, once the share `trimmed` is gone from each side.
pub fn bounds(values: impl Iterator<Item = f64>, trimmed: f64) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let cut = (trimmed * values.len() as f64) as usize;
    Some((*values.get(cut)?, values[values.len() - 1 - cut]))
}

/// Widens a range by `share` of its length on each side; one without length gets one.
pub fn padded(low: f64, high: f64, share: f64) -> Range<f64> {
    let least = (1e-6 * low.abs().max(high.abs())).max(1e-100);
    let margin = if high - low > least { share * (high - low) } else { (low.abs() / 2.0).max(0.5) };
    low - margin..high + margin
}
