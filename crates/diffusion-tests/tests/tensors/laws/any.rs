//! What is chosen while the program runs is what it stands for: parameters and outputs, bit by bit.

use crate::support::parameters::{assert_same_bits, parameters};
use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion::core::network::dit::{AnyDit, DitConfig};
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::schedule::{AnySchedule, Flow, LogLinear};
use diffusion::core::{
    AnyCondition, AnyPrediction, Averaged, Diffusion, FlowPrediction, GradientEstimation, Labels, Network,
    Noise, Schedule, Sigma, sample,
};
use diffusion::train::state_dict;
use diffusion_tests::{TestBackend, backend_tests};
use std::panic::{AssertUnwindSafe, catch_unwind};

backend_tests!(
    a_network_with_any_condition_is_the_one_with_its_own,
    a_network_that_knows_means_is_the_one_with_its_own,
    a_condition_of_another_kind_is_refused,
    flow_chosen_at_run_time_is_flow,
    another_path_is_refused,
);

fn labels() -> CondEmbedderLabelConfig {
    CondEmbedderLabelConfig::new(7)
}

fn dit() -> DitConfig {
    DitConfig {
        in_dim: 4,
        channels: 1,
        depth: 2,
        head_dim: 4,
        num_heads: 3,
        mlp_ratio: 2.5,
        ..DitConfig::default()
    }
}

fn unet() -> UnetConfig {
    UnetConfig {
        in_dim: 8,
        in_ch: 1,
        out_ch: 1,
        ch: 32,
        ch_mult: vec![1, 2, 1],
        embed_ch_mult: 2,
        num_res_blocks: 2,
        attn_resolutions: vec![8, 2],
        ..UnetConfig::default()
    }
}

/// Both have the same parameters under the same names, are counted alike, and give the same output.
fn assert_same<B, N, M, const D: usize>(any: N, one: M, condition: M::Condition, counted: u128)
where
    B: Backend,
    N: Network<B, D, Condition = AnyCondition> + Module<B>,
    M: Network<B, D> + Module<B>,
    M::Condition: Into<AnyCondition>,
{
    let names = |dict: diffusion::weights::StateDict| dict.names().map(str::to_string).collect::<Vec<_>>();
    assert_eq!(names(state_dict::<B, N, D>(&any)), names(state_dict::<B, M, D>(&one)));
    for (found, expected) in parameters(&any).iter().zip(&parameters(&one)) {
        assert_same_bits("parameter", found, expected);
    }
    assert_eq!(any.num_params() as u128, counted);
    assert_eq!(one.num_params() as u128, counted);
    let device = &any.devices()[0];
    let (x, sigma) =
        (Noise::new(2).initial(any.input_shape(3), device), Tensor::from_data([0.3, 1.0, 0.7], device));
    let bits = |x: Tensor<B, D>| x.into_data().to_vec::<f32>().unwrap();
    let expected = bits(one.forward(x.clone(), sigma.clone(), condition.clone()));
    assert_same_bits("output", &bits(any.forward(x, sigma, condition.into())), &expected);
}

fn a_network_with_any_condition_is_the_one_with_its_own<B: TestBackend>(device: &B::Device) {
    let (some, labels) = (labels(), Labels(vec![0, 7, 3]));
    let mlp = TimeInputMlpConfig::default();
    assert_same::<B, _, _, 2>(mlp.init_any(4, device), mlp.init(4, device), (), mlp.num_params());
    let mlp = ConditionalMlpConfig { labels: some.clone(), ..Default::default() };
    assert_same::<B, _, _, 2>(mlp.init_any(4, device), mlp.init(4, device), labels.clone(), mlp.num_params());
    for dit in [dit(), DitConfig { sigma_embedding: SigmaEmbedding::Timestep, ..dit() }] {
        assert_same::<B, _, _, 4>(
            dit.init_any(None, 4, device),
            dit.init(4, device),
            (),
            dit.num_params(None),
        );
        let (any, one) = (dit.init_any(Some(&some), 4, device), dit.init_conditional(&some, 4, device));
        assert_same::<B, _, _, 4>(any, one, labels.clone(), dit.num_params(Some(&some)));
    }
    let unet = unet();
    assert_same::<B, _, _, 4>(
        unet.init_any(None, 4, device),
        unet.init(4, device),
        (),
        unet.num_params(None),
    );
    let (any, one) = (unet.init_any(Some(&some), 4, device), unet.init_conditional(&some, 4, device));
    assert_same::<B, _, _, 4>(any, one, labels, unet.num_params(Some(&some)));
}

/// And apart from lengths, what it is without them.
fn a_network_that_knows_means_is_the_one_with_its_own<B: TestBackend>(device: &B::Device) {
    fn told<C>(condition: C) -> Averaged<C> {
        Averaged { over: Sigma::Each(vec![0.2, 0.0, 0.7]), condition }
    }
    let (some, labels) = (labels(), Labels(vec![0, 7, 3]));
    let mlp = TimeInputMlpConfig::default();
    let counted = mlp.num_params() + mlp.averaging_params();
    assert_same::<B, _, _, 2>(
        mlp.init_any_averaged(4, device),
        mlp.init_averaged(4, device),
        told(()),
        counted,
    );
    let mlp = ConditionalMlpConfig { labels: some.clone(), ..Default::default() };
    let counted = mlp.num_params() + mlp.averaging_params();
    let (any, one) = (mlp.init_any_averaged(4, device), mlp.init_averaged(4, device));
    assert_same::<B, _, _, 2>(any, one, told(labels.clone()), counted);
    let (dit, unet) = (dit(), unet());
    let counted = |labels| dit.num_params(labels) + dit.averaging_params();
    let any = |labels| dit.init_any_averaged(labels, 4, device);
    assert_same::<B, _, _, 4>(any(None), dit.init_averaged(4, device), told(()), counted(None));
    let one = dit.init_averaged_conditional(&some, 4, device);
    assert_same::<B, _, _, 4>(any(Some(&some)), one, told(labels.clone()), counted(Some(&some)));
    let counted = |labels| unet.num_params(labels) + unet.averaging_params();
    let any = |labels| unet.init_any_averaged(labels, 4, device);
    assert_same::<B, _, _, 4>(any(None), unet.init_averaged(4, device), told(()), counted(None));
    let one = unet.init_averaged_conditional(&some, 4, device);
    assert_same::<B, _, _, 4>(any(Some(&some)), one, told(labels), counted(Some(&some)));

    let dict = |network: AnyDit<B>| state_dict::<B, _, 4>(&network);
    let (plain, averaged) =
        (dict(dit.init_any(Some(&some), 4, device)), dict(dit.init_any_averaged(Some(&some), 4, device)));
    let names = |dict: &diffusion::weights::StateDict| dict.names().map(str::to_string).collect::<Vec<_>>();
    let (own, all) = (names(&plain), names(&averaged));
    assert!(own.iter().all(|name| all.contains(name)), "{own:?}, {all:?}");
    let added: Vec<&String> = all.iter().filter(|name| !own.contains(name)).collect();
    assert!(added.len() == 4 && added.iter().all(|name| name.starts_with("cond_embed.length.")), "{added:?}");
}

fn a_condition_of_another_kind_is_refused<B: TestBackend>(device: &B::Device) {
    let mlp = TimeInputMlpConfig::default();
    let conditional = ConditionalMlpConfig { labels: labels(), ..Default::default() };
    let labels = AnyCondition::from(Labels(vec![1]));
    for (network, condition, expected) in [
        (mlp.init_any::<B>(0, device), labels, "the network was given labels, expected no condition"),
        (
            conditional.init_any::<B>(0, device),
            AnyCondition::None,
            "the network was given no condition, expected labels",
        ),
    ] {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            network.forward(Tensor::ones([1, 2], device), Tensor::ones([1], device), condition)
        }));
        assert_eq!(panic.unwrap_err().downcast_ref::<String>().map(String::as_str), Some(expected));
    }
}

fn flow_chosen_at_run_time_is_flow<B: TestBackend>(device: &B::Device) {
    let network = || TimeInputMlpConfig::default().init::<B>(4, device);
    let (any, one) =
        (Diffusion::new(network(), AnyPrediction::Flow), Diffusion::new(network(), FlowPrediction));
    let sigmas = Flow::default().sigmas(5);
    let any_sigmas = AnySchedule::new(Flow::default()).sigmas(5);
    let sampler = GradientEstimation::DDPM;
    let found = sample(&any, sampler, &any_sigmas, 3, Noise::new(1), device).last().unwrap();
    let expected = sample(&one, sampler, &sigmas, 3, Noise::new(1), device).last().unwrap();
    let bits = |x: Tensor<B, 2>| x.into_data().to_vec::<f32>().unwrap();
    assert_same_bits("sample", &bits(found), &bits(expected));
    let (x0, eps) = (Tensor::ones([2, 2], device), Noise::new(3).initial([2, 2], device));
    let loss = any.loss(x0.clone(), [0.2, 0.9], eps.clone(), ()).into_data().to_vec::<f32>().unwrap();
    let expected = one.loss(x0, [0.2, 0.9], eps, ()).into_data().to_vec::<f32>().unwrap();
    assert_same_bits("loss", &loss, &expected);
}

fn another_path_is_refused<B: TestBackend>(device: &B::Device) {
    let model = Diffusion::new(TimeInputMlpConfig::default().init::<B>(4, device), AnyPrediction::Flow);
    let sigmas = AnySchedule::new(LogLinear::default()).sigmas(5);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        sample(&model, GradientEstimation::DDIM, &sigmas, 3, Noise::new(1), device).count()
    }));
    let panic = panic.unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("the denoiser and the noise levels are on different paths"), "{message}");
}
