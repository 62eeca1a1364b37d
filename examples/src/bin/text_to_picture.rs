//! A picture of a text, by a pretrained model: `text_to_picture FOLDER [TEXT [STEPS [FILE.png]]]`.
//!
//! FOLDER holds a model as diffusers saves it, e.g. Stable Diffusion 1.5. Writes the picture, and prints its contrast, the
//! standard deviation of its values.

use burn::backend::Flex;
use diffusion::latent::{StableDiffusion, TextCondition};
use diffusion::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default| arguments.get(at).map_or(default, String::as_str);
    let (text, steps) = (argument(1, "an astronaut riding a horse on mars"), argument(2, "20").parse()?);
    let (noise, device) = (Noise::new(0), Default::default());
    let pipe = StableDiffusion::<Flex>::open(arguments.first().ok_or("the folder is missing")?, &device)?;
    let [height, width] = pipe.native_size();
    let (model, prompt) = (pipe.at(height, width)?, TextCondition::from(pipe.text(&[text])));
    let plan = pipe.schedule().like_diffusers(steps)?;
    let x = plan.from_noise(model.rand_input(1, noise, &device));
    let latents = plan.run(&model.given(prompt).guided(6.5), x, noise);
    let picture = pipe.decode(latents).squeeze_dim::<3>(0);
    println!("contrast {:.3}", picture.clone().reshape([-1]).var(0).sqrt().into_scalar());
    Ok(write_png(argument(3, "picture.png"), &picture.into_data(), &[("prompt", text)])?)
}
