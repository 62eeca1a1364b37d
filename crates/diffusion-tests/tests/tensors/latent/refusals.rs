//! What a pipeline refuses before it computes.

use crate::support::folders::{Folder, Latent, write_hashed};
use burn::backend::Flex;
use diffusion::core::Noise;
use diffusion::latent::generate::{GenerateError, Request};
use diffusion::latent::{LatentError, StableDiffusion};

/// A U-Net that does not suit the autoencoder is named by its setting: that of a model for depth has five channels.
#[test]
fn a_network_of_other_channels() {
    const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";
    for (key, tensors, axis) in [
        ("in_channels", &["conv_in.weight"][..], 1),
        ("out_channels", &["conv_out.weight", "conv_out.bias"], 0),
    ] {
        let folder = Folder::new("sd1");
        let (from, to) = (format!("\"{key}\": 4"), format!("\"{key}\": 5"));
        folder.edit("unet/config.json", |text| {
            assert!(text.contains(&from));
            text.replace(&from, &to)
        });
        let mut parameters = Latent::read().parameters("sd1", WEIGHTS).clone();
        for tensor in tensors {
            parameters.get_mut(*tensor).unwrap()[axis] = 5;
        }
        write_hashed(&folder.join(WEIGHTS), &parameters, |name| Some(name.to_string()));
        let error = StableDiffusion::<Flex>::open(folder.path(), &Default::default()).unwrap_err();
        let LatentError::Setting { key: found, .. } = error else { panic!("{error}") };
        assert_eq!(found, key);
    }
}

#[test]
fn values_of_a_request() {
    let device = Default::default();
    let pipe = StableDiffusion::<Flex>::open(Folder::new("sd1").path(), &device).unwrap();
    let request = || Request { steps: 2, ..Request::new("a fox", [16, 16]) };
    for (request, expected) in [
        (Request { guidance: f64::NAN, ..request() }, "guidance"),
        (Request { guidance: f64::INFINITY, ..request() }, "guidance"),
        (Request { steps: 0, ..request() }, "steps"),
        (Request { size: [16, 15], ..request() }, "size"),
    ] {
        let found = pipe.generate(&request, Noise::new(0), &device, &mut |_, _, _| panic!("it computes"));
        let Err(GenerateError::Invalid(error)) = found else { panic!("{expected}: {found:?}") };
        assert_eq!(error.setting, expected);
    }
    assert!(pipe.generate(&request(), Noise::new(0), &device, &mut |_, _, _| Ok(())).is_ok());
}
