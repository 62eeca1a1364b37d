//! The networks under every modifier: output, loss, the gradient of every parameter, the prediction that samplers use,
//! and guidance.

use crate::support::{fixture::Fixture, hashed, weights};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleDisplay};
use burn::optim::GradientsParams;
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::network::{Condition, NullCondition};
use diffusion::core::{AnyPrediction, Diffusion, FlowPrediction, Labels, Network, Parameterization, Sigma};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    unet_matches,
    conditional_unet_matches,
    deep_unet_matches,
    unet_of_three_channels_matches,
    unet_of_other_channels_out_than_in_matches,
    flow_unet_with_timestep_embedder_matches,
    dit_matches,
    conditional_dit_matches,
    dit_of_odd_channels_matches,
    flow_dit_with_timestep_embedder_matches,
    gradients_of_mlp_match,
    conditional_mlp_matches,
);

/// The U-Nets of the fixtures, whose sizes are in `HASHED` of `fixtures/make.py`.
pub fn unet(
    in_dim: usize,
    channels: [usize; 2],
    ch: usize,
    ch_mult: &[usize],
    embed_ch_mult: usize,
) -> UnetConfig {
    UnetConfig {
        in_dim,
        in_ch: channels[0],
        out_ch: channels[1],
        ch,
        ch_mult: ch_mult.to_vec(),
        embed_ch_mult,
        num_res_blocks: 1,
        attn_resolutions: Vec::new(),
        dropout: 0.0,
        sigma_embedding: SigmaEmbedding::default(),
        self_condition: false,
    }
}

pub fn unet_conditional() -> UnetConfig {
    UnetConfig { attn_resolutions: vec![4], ..unet(4, [3, 3], 64, &[1, 1], 2) }
}

pub fn unet_timestep() -> UnetConfig {
    UnetConfig { sigma_embedding: SigmaEmbedding::Timestep, ..unet(4, [1, 1], 32, &[2, 2], 2) }
}

pub fn dit(in_dim: usize, channels: usize, depth: usize, heads: usize) -> DitConfig {
    DitConfig { in_dim, channels, patch_size: 2, depth, head_dim: 4, num_heads: heads, ..Default::default() }
}

pub fn dit_conditional() -> DitConfig {
    dit(6, 1, 1, 3)
}

pub fn dit_timestep() -> DitConfig {
    DitConfig { sigma_embedding: SigmaEmbedding::Timestep, ..dit(4, 1, 1, 2) }
}

/// Four classes, of which none is forgotten in training.
pub fn four_classes() -> CondEmbedderLabelConfig {
    CondEmbedderLabelConfig { num_classes: 4, dropout: 0.0 }
}

fn unet_matches<B: TestBackend>(device: &B::Device) {
    let config = UnetConfig { attn_resolutions: vec![4], ..unet(8, [1, 1], 32, &[2, 3], 2) };
    let network = hashed::load("unet", config.init::<Autodiff<B>>(0, device));
    every_modifier::<B, _, 4>(&Fixture::open("unet"), "unet", &network, device);
}

fn conditional_unet_matches<B: TestBackend>(device: &B::Device) {
    let network = unet_conditional().init_conditional::<Autodiff<B>>(&four_classes(), 0, device);
    let network = hashed::load("unet_conditional", network);
    let fixture = Fixture::open("unet_conditional");
    every_modifier::<B, _, 4>(&fixture, "unet_conditional", &network, device);
    every_guidance::<B, _, 4>(&fixture, &network.valid(), device);
}

fn deep_unet_matches<B: TestBackend>(device: &B::Device) {
    let config = unet(8, [1, 1], 32, &[2, 3, 2], 1);
    let config = UnetConfig { num_res_blocks: 2, attn_resolutions: vec![8, 2], ..config };
    let network = hashed::load("unet_shapes.deep", config.init::<Autodiff<B>>(0, device));
    let fixture = Fixture::open("unet_shapes").case("deep");
    every_modifier::<B, _, 4>(&fixture, "unet_shapes.deep", &network, device);
}

fn unet_of_three_channels_matches<B: TestBackend>(device: &B::Device) {
    let network = unet(4, [3, 3], 64, &[1], 1).init::<Autodiff<B>>(0, device);
    let network = hashed::load("unet_shapes.channels_3", network);
    let fixture = Fixture::open("unet_shapes").case("channels_3");
    every_modifier::<B, _, 4>(&fixture, "unet_shapes.channels_3", &network, device);
}

fn unet_of_other_channels_out_than_in_matches<B: TestBackend>(device: &B::Device) {
    let config = UnetConfig { attn_resolutions: vec![4, 2], ..unet(4, [5, 7], 32, &[1, 2], 1) };
    let network = hashed::load("unet_shapes.channels_5_7", config.init::<B>(0, device));
    let fixture = Fixture::open("unet_shapes").case("channels_5_7");
    let (each, all) = (fixture.numbers("in.sigma"), fixture.number("in.sigma_scalar"));
    for (shape, sigma) in [("batch", Sigma::Each(each)), ("scalar", Sigma::All(all))] {
        let name = format!("out.plain.forward_{shape}");
        let sigma = sigma.tensor(3, device);
        let found = network.forward(fixture.tensor("in.x", device), sigma, ()).into_data();
        assert_close(&name, found, fixture.data(&name), B::TOLERANCE);
    }
}

fn flow_unet_with_timestep_embedder_matches<B: TestBackend>(device: &B::Device) {
    let network = hashed::load("unet_shapes.timestep", unet_timestep().init::<Autodiff<B>>(0, device));
    let fixture = Fixture::open("unet_shapes").case("timestep");
    modifier::<B, _, _, 4>(&fixture, "unet_shapes.timestep", "pred_flow", FlowPrediction, &network, device);
}

fn dit_matches<B: TestBackend>(device: &B::Device) {
    let network = hashed::load("dit_modifiers.unconditional", dit(4, 3, 2, 2).init::<Autodiff<B>>(0, device));
    let fixture = Fixture::open("dit_modifiers").case("unconditional");
    every_modifier::<B, _, 4>(&fixture, "dit_modifiers.unconditional", &network, device);
}

fn conditional_dit_matches<B: TestBackend>(device: &B::Device) {
    let network = dit_conditional().init_conditional::<Autodiff<B>>(&four_classes(), 0, device);
    let network = hashed::load("dit_modifiers.conditional", network);
    let fixture = Fixture::open("dit_modifiers").case("conditional");
    every_modifier::<B, _, 4>(&fixture, "dit_modifiers.conditional", &network, device);
    every_guidance::<B, _, 4>(&fixture, &network.valid(), device);
}

fn dit_of_odd_channels_matches<B: TestBackend>(device: &B::Device) {
    let config = DitConfig { patch_size: 1, head_dim: 8, mlp_ratio: 2.0, ..dit(4, 5, 3, 1) };
    let network = hashed::load("dit_modifiers.odd", config.init::<Autodiff<B>>(0, device));
    let fixture = Fixture::open("dit_modifiers").case("odd");
    every_modifier::<B, _, 4>(&fixture, "dit_modifiers.odd", &network, device);
}

fn flow_dit_with_timestep_embedder_matches<B: TestBackend>(device: &B::Device) {
    let network = hashed::load("dit_modifiers.timestep", dit_timestep().init::<Autodiff<B>>(0, device));
    let fixture = Fixture::open("dit_modifiers").case("timestep");
    modifier::<B, _, _, 4>(&fixture, "dit_modifiers.timestep", "pred_flow", FlowPrediction, &network, device);
}

/// The outputs of this MLP are in another file, together with its weights and inputs.
fn gradients_of_mlp_match<B: TestBackend>(device: &B::Device) {
    let network = weights::time_input_mlp::<Autodiff<B>>(&Fixture::open("mlp"), device);
    let (inputs, expected) = (Fixture::open("mlp"), Fixture::open("mlp_gradients").case("mlp"));
    for (name, mode) in MODIFIERS {
        gradients::<B, _, _, 2>(&inputs, &expected, "mlp_gradients.mlp", name, mode, &network, device);
    }
    let (name, mode) = ("pred_flow", FlowPrediction);
    gradients::<B, _, _, 2>(&inputs, &expected, "mlp_gradients.mlp", name, mode, &network, device);
}

fn conditional_mlp_matches<B: TestBackend>(device: &B::Device) {
    let network = weights::conditional_mlp::<Autodiff<B>>(&Fixture::open("conditional_mlp"), device);
    let fixture = Fixture::open("mlp_gradients").case("conditional");
    every_modifier::<B, _, 2>(&fixture, "mlp_gradients.conditional", &network, device);
    every_guidance::<B, _, 2>(&fixture, &network.valid(), device);
}

/// smalldiffusion's modifiers on the variance-exploding path; the seventh is `pred_flow`.
const MODIFIERS: [(&str, AnyPrediction); 6] = [
    ("plain", AnyPrediction::Eps),
    ("scaled", AnyPrediction::ScaledEps),
    ("pred_x0", AnyPrediction::X0),
    ("pred_v", AnyPrediction::V),
    ("scaled_pred_x0", AnyPrediction::ScaledX0),
    ("scaled_pred_v", AnyPrediction::ScaledV),
];

/// A condition that a fixture can hold.
trait FromFixture: Condition {
    fn labels(fixture: &Fixture) -> Self;
}

impl FromFixture for () {
    fn labels(_: &Fixture) {}
}

impl FromFixture for Labels {
    fn labels(fixture: &Fixture) -> Self {
        fixture.labels("in.labels")
    }
}

fn every_modifier<B: TestBackend, N, const D: usize>(
    fixture: &Fixture,
    case: &str,
    network: &N,
    device: &B::Device,
) where
    N: Network<Autodiff<B>, D> + AutodiffModule<Autodiff<B>> + ModuleDisplay,
    N::InnerModule: Network<B, D, Condition = N::Condition> + ModuleDisplay,
    N::Condition: FromFixture,
{
    for (name, mode) in MODIFIERS {
        modifier::<B, _, _, D>(fixture, case, name, mode, network, device);
    }
    modifier::<B, _, _, D>(fixture, case, "pred_flow", FlowPrediction, network, device);
}

/// A case's noise levels: each example's own, and one for all.
fn levels(fixture: &Fixture, name: &str) -> (Sigma, f64) {
    let sigma = if name == "pred_flow" { "in.flow_sigma" } else { "in.sigma" };
    (Sigma::Each(fixture.numbers(sigma)), fixture.number(&format!("{sigma}_scalar")))
}

/// `exact`, where float32 loses digits in smalldiffusion itself.
fn expected(fixture: &Fixture, name: &str) -> Fixture {
    if fixture.names("exact.").is_empty() {
        fixture.case("out").case(name)
    } else {
        fixture.case("exact").case(name)
    }
}

fn modifier<B: TestBackend, N, P: Parameterization, const D: usize>(
    fixture: &Fixture,
    case: &str,
    name: &str,
    mode: P,
    network: &N,
    device: &B::Device,
) where
    N: Network<Autodiff<B>, D> + AutodiffModule<Autodiff<B>> + ModuleDisplay,
    N::InnerModule: Network<B, D, Condition = N::Condition> + ModuleDisplay,
    N::Condition: FromFixture,
{
    let outputs = expected(fixture, name);
    let model = Diffusion::<B, _, _>::new(network.valid(), mode.clone());
    let labels = N::Condition::labels(fixture);
    let (each, all) = levels(fixture, name);
    let tolerance = tolerance::<B>(case);
    let tensor = |name: &str| fixture.tensor::<B, D>(name, device);
    let close = |what: String, found| {
        assert_close(&format!("{name}: {what}"), found, outputs.data(&what), tolerance);
    };
    for (shape, sigma) in [("batch", each.clone()), ("scalar", Sigma::All(all))] {
        let found = model.predict(tensor("in.x"), &sigma, labels.clone()).into_data();
        close(format!("forward_{shape}"), found);
        // What smalldiffusion calls `predict_eps` of a flow model is the velocity ε − x₀.
        let found = if name == "pred_flow" {
            model.velocity(tensor("in.x"), &sigma, labels.clone())
        } else {
            model.predict_eps(tensor("in.x"), &sigma, labels.clone())
        };
        close(format!("predict_eps_{shape}"), found.into_data());
    }
    let loss = model.loss(tensor("in.x0"), &each, tensor("in.eps"), labels);
    close("loss".to_string(), loss.into_data());
    gradients::<B, _, _, D>(fixture, fixture, case, name, mode, network, device);
}

/// Angles of up to 1000, of which f32 knows the fourth decimal, come into the timestep embedder.
fn tolerance<B: TestBackend>(case: &str) -> f64 {
    if case.ends_with("timestep") { 1e-4 } else { B::TOLERANCE }
}

fn gradients<B: TestBackend, N, P: Parameterization, const D: usize>(
    inputs: &Fixture,
    expected: &Fixture,
    case: &str,
    name: &str,
    mode: P,
    network: &N,
    device: &B::Device,
) where
    N: Network<Autodiff<B>, D> + AutodiffModule<Autodiff<B>> + ModuleDisplay,
    N::InnerModule: Network<B, D> + ModuleDisplay,
    N::Condition: FromFixture,
{
    let model = Diffusion::new(network.clone(), mode);
    let tensor = |name: &str| inputs.tensor::<Autodiff<B>, D>(name, device);
    let sigmas = levels(inputs, name).0;
    let loss = model.loss(tensor("in.x0"), sigmas, tensor("in.eps"), N::Condition::labels(inputs));
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let found = hashed::gradients::<Autodiff<B>, _, D>(&model.network, &gradients);
    let expected = expected.case("grad").case(name);
    hashed::assert_fingerprints(name, &found, &expected, case, B::GRADIENT_TOLERANCE);
}

/// Classifier-free guidance under every modifier, of a network conditioned on labels.
fn every_guidance<B: TestBackend, N, const D: usize>(fixture: &Fixture, network: &N, device: &B::Device)
where
    N: Network<B, D, Condition = Labels> + NullCondition<Condition = Labels> + Clone,
{
    for (name, mode) in MODIFIERS {
        guidance::<B, _, _, D>(fixture, name, &Diffusion::new(network.clone(), mode), device);
    }
    guidance::<B, _, _, D>(fixture, "pred_flow", &Diffusion::new(network.clone(), FlowPrediction), device);
}

fn guidance<B: TestBackend, N, P: Parameterization, const D: usize>(
    fixture: &Fixture,
    name: &str,
    model: &Diffusion<B, N, P>,
    device: &B::Device,
) where
    N: Network<B, D, Condition = Labels> + NullCondition<Condition = Labels>,
{
    let outputs = expected(fixture, name);
    let (labels, (_, sigma)) = (fixture.labels("in.cfg_labels"), levels(fixture, name));
    for (text, scale) in [("0", 0.0), ("1_5", 1.5), ("4", 4.0)] {
        let x = fixture.tensor::<B, D>("in.x", device);
        let found = if name == "pred_flow" {
            use diffusion::core::Denoiser;
            model.given(labels.clone()).guided(scale).evaluate(x, sigma).velocity()
        } else {
            model.predict_eps_cfg(x, sigma, labels.clone(), scale)
        };
        let what = format!("predict_eps_cfg_{text}");
        assert_close(&format!("{name}: {what}"), found.into_data(), outputs.data(&what), B::TOLERANCE);
    }
}
