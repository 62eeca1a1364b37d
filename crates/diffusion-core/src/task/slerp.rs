//! Spherical interpolation.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// The point at `t` of the way from `a` to `b` along the arc between them, sample by sample over all axes but the batch
/// (Shoemake 1985): noise stays as large as noise is, which the straight line between two does not reach.
///
/// The directions are interpolated along the arc and the norms along the line. Between opposite directions, which have no
/// arc of their own, the way leads past the axis that is farthest from both. At `t` = 0 and 1 the result is `a` and `b`
/// bit for bit. It is computed in f64 on the host.
///
/// # Shapes
/// - `a`, `b`, returns: `[batch, …]`
///
/// # Panics
/// If `a` and `b` differ in shape.
pub fn slerp<B: Backend, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>, t: f64) -> Tensor<B, D> {
    assert_eq!(a.dims(), b.dims(), "the ends differ in shape");
    if t == 0.0 {
        return a;
    }
    if t == 1.0 {
        return b;
    }
    let (dims, device) = (a.dims(), a.device());
    let [a, b] = [a, b].map(|end| end.into_data().iter::<f64>().collect::<Vec<_>>());
    let size = dims[1..].iter().product::<usize>().max(1);
    let rows = a.chunks(size).zip(b.chunks(size));
    let values: Vec<f32> = rows.flat_map(|(a, b)| between(a, b, t)).map(|value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, dims), &device)
}

/// The point between two vectors.
fn between(a: &[f64], b: &[f64], t: f64) -> Vec<f64> {
    let (long, wide) = (norm(a), norm(b));
    let length = (1.0 - t) * long + t * wide;
    // A vector without a direction has that of the other.
    let (u, v) = match (long > 0.0, wide > 0.0) {
        (true, true) => (scaled(a, 1.0 / long), scaled(b, 1.0 / wide)),
        (true, false) => (scaled(a, 1.0 / long), scaled(a, 1.0 / long)),
        (false, true) => (scaled(b, 1.0 / wide), scaled(b, 1.0 / wide)),
        (false, false) => return a.to_vec(),
    };
    let across = perpendicular(&u, &v);
    let angle = dot(&v, &across).atan2(dot(&v, &u)) * t;
    let (along, aside) = (length * angle.cos(), length * angle.sin());
    u.iter().zip(&across).map(|(u, across)| along * u + aside * across).collect()
}

/// The unit vector perpendicular to `u` on the side of `v`, where `v` has one, and else on that of an axis.
fn perpendicular(u: &[f64], v: &[f64]) -> Vec<f64> {
    /// Below it the side of `v` is rounding.
    const SIDE: f64 = 1e-7;
    let side = |v: &[f64]| {
        let along = dot(u, v);
        u.iter().zip(v).map(|(u, v)| v - along * u).collect::<Vec<_>>()
    };
    let of_v = side(v);
    let size = norm(&of_v);
    if size > SIDE {
        return scaled(&of_v, 1.0 / size);
    }
    let farthest = (0..u.len()).min_by(|&i, &j| u[i].abs().total_cmp(&u[j].abs())).unwrap_or(0);
    let mut axis = vec![0.0; u.len()];
    if let Some(place) = axis.get_mut(farthest) {
        *place = 1.0;
    }
    let of_axis = side(&axis);
    match norm(&of_axis) {
        // In one dimension there is no other side.
        size if size > SIDE => scaled(&of_axis, 1.0 / size),
        _ => vec![0.0; u.len()],
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn scaled(a: &[f64], factor: f64) -> Vec<f64> {
    a.iter().map(|a| a * factor).collect()
}
