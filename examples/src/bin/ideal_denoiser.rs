//! Sampling without a network: the best possible denoiser of a data set, in closed form.
//!
//! Prints how far, at most, a sample is from the nearest point of the data: next to nothing.

use burn::backend::Flex;
use diffusion::prelude::*;
use std::f64::consts::PI;

fn main() -> Result<(), DataError> {
    let device = Default::default();
    let data = Swissroll::new(PI / 2.0, 5.0 * PI, 100).all()?;
    let ideal = IdealDenoiser::<Flex, 2>::new(&data, &device);

    let sigmas = LogLinear::new(200, 0.005, 10.0).sigmas(40).to_zero();
    let samples = sample(&ideal, Heun::default(), &sigmas, 50, Noise::new(0), &device).last();

    let samples: Vec<f32> = samples.expect("there are 41 steps").into_data().iter().collect();
    let data: Vec<f32> = data.iter().collect();
    let distance =
        |p: &[f32]| data.chunks(2).map(|q| (q[0] - p[0]).hypot(q[1] - p[1])).fold(f32::INFINITY, f32::min);
    println!("distance {:.6}", samples.chunks(2).map(distance).fold(0.0, f32::max));
    Ok(())
}
