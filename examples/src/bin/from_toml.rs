//! Training from a configuration file: `from_toml FILE`, where FILE is what `diffusion train --print-config` prints.
//!
//! Prints the loss of the last step.

use burn::backend::Flex;
use diffusion_recipe::RunConfig;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("a configuration file is missing")?;
    let mut run = RunConfig::read(path)?.build::<Flex>(&Default::default())?;
    let mut loss = f64::NAN;
    while let Some(step) = run.step()? {
        loss = step.loss;
    }
    println!("loss {loss:.3}");
    Ok(())
}
