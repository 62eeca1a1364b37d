use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, small, write_tensors};
use burn::tensor::Tensor;
use diffusion::latent::UNet2DConditionModel;
use diffusion::latent::unet::Added;
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(stable_diffusion_1, stable_diffusion_2, every_norm_has_its_epsilon, nine_channels, sdxl);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

fn stable_diffusion_1<B: TestBackend>(device: &B::Device) {
    answers::<B>("sd1", device);
}

fn stable_diffusion_2<B: TestBackend>(device: &B::Device) {
    answers::<B>("sd2", device);
}

/// A time of each example, whole and broken; images that are not square, and of odd sizes.
fn answers<B: TestBackend>(name: &str, device: &B::Device) {
    let model = UNet2DConditionModel::<B>::open(Folder::new(name).path(), device).unwrap();
    let fixture = Fixture::open("latent");
    let context: Tensor<B, 3> = fixture.tensor("unet.in.context", device);
    for image in ["x", "wide", "odd"] {
        let x: Tensor<B, 4> = fixture.tensor(&format!("unet.in.{image}"), device);
        let batch = x.dims()[0];
        let t = match image {
            "x" => fixture.tensor("unet.in.t", device),
            _ => Tensor::full([batch], 500.0, device),
        };
        let found = model.forward(x, t, context.clone().narrow(0, 0, batch), None);
        let expected = fixture.data(&format!("{name}.unet.out.{image}"));
        assert_close(&format!("{name} {image}"), found.into_data(), expected, TOLERANCE);
    }
}

fn every_norm_has_its_epsilon<B: TestBackend>(device: &B::Device) {
    const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";
    let folder = Folder::new("sd1");
    write_tensors(&folder.join(WEIGHTS), small(Latent::read().parameters("sd1", WEIGHTS)));
    let model = UNet2DConditionModel::<B>::open(folder.path(), device).unwrap();
    let fixture = Fixture::open("latent");
    let context = fixture.tensor::<B, 3>("unet.in.context", device).narrow(0, 0, 1);
    let t = Tensor::full([1], 437.0, device);
    let found = model.forward(fixture.tensor("small.in.x", device), t, context, None);
    assert_close("small", found.into_data(), fixture.data("small.out.unet"), TOLERANCE);
}

fn nine_channels<B: TestBackend>(device: &B::Device) {
    let model = UNet2DConditionModel::<B>::open(Folder::new("inpaint").path(), device).unwrap();
    let fixture = Fixture::open("latent");
    let context = fixture.tensor::<B, 3>("unet.in.context", device).narrow(0, 0, 2);
    let t = Tensor::full([2], 333.0, device);
    let found = model.forward(fixture.tensor("inpaint.unet.in.x", device), t, context, None);
    assert_close("nine channels", found.into_data(), fixture.data("inpaint.unet.out.x"), TOLERANCE);
}

fn sdxl<B: TestBackend>(device: &B::Device) {
    let model = UNet2DConditionModel::<B>::open(Folder::new("sdxl").path(), device).unwrap();
    let fixture = Fixture::open("latent");
    let added = Added {
        pooled: fixture.tensor("sdxl.text.out.pooled", device),
        size: fixture.tensor("sdxl.unet.in.size", device),
    };
    let x = fixture.tensor("run.in.noise", device);
    let (t, context) =
        (fixture.tensor("sdxl.unet.in.t", device), fixture.tensor("sdxl.text.out.cond", device));
    let found = model.forward(x, t, context, Some(added));
    assert_close("sdxl", found.into_data(), fixture.data("sdxl.unet.out.x"), TOLERANCE);
}
