//! A transformer that is told texts: where they enter, what is forgotten, and that examples do not mix.

use crate::support::parameters::{assert_same_bits, parameters};
use crate::support::weights::dit_config;
use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::layer::{CondEmbedderText, CondEmbedderTextConfig, ConditionEmbedder, Init};
use diffusion::core::network::dit::TextDit;
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::{
    AnyCondition, Denoiser, Diffusion, EpsPrediction, Labels, Network, Noise, NullCondition, Tokens, Tracer,
};
use diffusion::train::{load_state_dict, state_dict};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

backend_tests!(
    texts_are_projected_and_have_places,
    the_sequence_is_the_text_and_then_the_patches,
    the_output_is_that_of_the_patches,
    another_text_gives_another_output,
    nothing_of_a_forgotten_text_is_left,
    what_stands_for_no_text_is_learned_from_forgotten_texts_alone,
    examples_do_not_mix,
    texts_are_forgotten_below_the_probability,
    guidance_compares_with_no_text,
    parameters_are_counted,
    weights_go_out_and_in,
    texts_of_another_shape_are_refused,
    a_condition_of_another_kind_is_refused,
);

/// Three tokens of five values, before 16 patches.
const TEXT: [usize; 2] = [3, 5];

fn config() -> CondEmbedderTextConfig {
    CondEmbedderTextConfig { tokens: TEXT[0], width: TEXT[1], dropout: 0.3 }
}

/// A network whose last layer is not zero, so that it puts something out.
fn network<B: Backend>(device: &B::Device) -> TextDit<B> {
    let mut network = dit_config().init_text(&config(), 3, device);
    let stream = &mut Stream::new(4, Purpose::PARAMETERS, 0, 0);
    network.final_linear = Init::Xavier.linear(Some(Init::Zeros), [8, 12], stream, device);
    network
}

/// The texts of `seeds`, one example each.
fn texts(seeds: &[u64]) -> Tokens {
    let values = seeds.iter().flat_map(|&seed| {
        let mut stream = Stream::new(seed, Purpose(1000), 0, 0);
        (0..TEXT[0] * TEXT[1]).map(move |_| stream.normal() as f32)
    });
    Tokens::new(values.collect(), [seeds.len(), TEXT[0], TEXT[1]])
}

fn inputs<B: Backend>(batch: usize, device: &B::Device) -> (Tensor<B, 4>, Tensor<B, 1>) {
    let sigmas: Vec<f32> = (0..batch).map(|i| 0.5 + i as f32).collect();
    let sigmas = Tensor::from_data(TensorData::new(sigmas, [batch]), device);
    (Noise::new(1).initial([batch, 3, 8, 8], device), sigmas)
}

fn bits<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f32> {
    x.into_data().to_vec().unwrap()
}

/// The output for as many examples as there are texts.
fn told<B: Backend>(network: &TextDit<B>, texts: Tokens, device: &B::Device) -> Vec<f32> {
    let (x, sigma) = inputs(texts.shape()[0], device);
    bits(network.forward(x, sigma, texts))
}

/// The embedding of one text on the host: its tokens times the weight, the bias, and the places.
fn by_hand<B: Backend>(embedder: &CondEmbedderText<B>, text: &[f32]) -> Vec<f32> {
    let [weight, bias, places, _] = parameters(embedder).try_into().unwrap();
    let [tokens, width] = TEXT;
    let value = |token: usize, i: usize| {
        let sum: f64 = (0..width).map(|j| f64::from(text[token * width + j] * weight[j * 8 + i])).sum();
        (sum + f64::from(bias[i]) + f64::from(places[token * 8 + i])) as f32
    };
    (0..tokens).flat_map(|token| (0..8).map(move |i| value(token, i))).collect()
}

fn texts_are_projected_and_have_places<B: TestBackend>(device: &B::Device) {
    let stream = &mut Stream::new(5, Purpose::PARAMETERS, 0, 0);
    let mut embedder = config().init::<B>(8, Init::Xavier, stream, device);
    embedder.proj = Init::Torch.linear(Some(Init::Torch), [5, 8], stream, device);
    let texts = texts(&[1, 2, 3]).forget(|example| example == 1);
    let [first, _, third] = [0, 1, 2].map(|i| &texts.values()[i * 15..][..15]);
    let none = parameters(&embedder).pop().unwrap();
    let expected = [first, &none, third].map(|text| by_hand(&embedder, text)).concat();
    let expected = TensorData::new(expected, [3, 3, 8]);
    assert_close("tokens", embedder.forward(&texts).into_data(), expected.clone(), B::TOLERANCE);
    // A network without sequences is told the mean.
    let mean = expected.to_vec::<f32>().unwrap();
    let mean = (0..24).map(|i| (0..3).map(|token| mean[i / 8 * 24 + token * 8 + i % 8]).sum::<f32>() / 3.0);
    let mean = TensorData::new(mean.collect::<Vec<f32>>(), [3, 8]);
    assert_close("mean", embedder.embed(texts).unwrap().into_data(), mean, B::TOLERANCE);
}

/// Notes each layer's output, and changes one.
struct Noting<C> {
    seen: Vec<(String, TensorData)>,
    change: C,
}

impl<B: Backend, C: Fn(&str, TensorData) -> TensorData> Tracer<B> for Noting<C> {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        let (name, device) = (name.to_string(), output.device());
        let data = (self.change)(&name, output.into_data());
        self.seen.push((name, data.clone()));
        Tensor::from_data(data, &device)
    }
}

/// The outputs of the layers and that of the network, with what `change` makes of them.
fn traced<B: Backend>(
    device: &B::Device,
    change: impl Fn(&str, TensorData) -> TensorData,
) -> (Vec<(String, TensorData)>, Vec<f32>) {
    let (x, sigma) = inputs::<B>(2, device);
    let mut noting = Noting { seen: Vec::new(), change };
    let output = network(device).trace(x, sigma, texts(&[1, 2]), &mut noting);
    (noting.seen, bits(output))
}

fn the_sequence_is_the_text_and_then_the_patches<B: TestBackend>(device: &B::Device) {
    let (seen, _) = traced::<B>(device, |_, data| data);
    let of = |layer: &str| {
        let (_, data) = seen.iter().find(|(name, _)| name == layer).unwrap();
        (data.to_vec::<f32>().unwrap(), data.shape.to_vec())
    };
    let ((text, _), (patches, _), (sequence, shape)) = (of("cond_embed"), of("pos_embed"), of("sequence"));
    assert_eq!(shape, [2, 19, 8]);
    for example in 0..2 {
        let expected = [&text[example * 24..][..24], &patches[example * 128..][..128]].concat();
        assert_same_bits("sequence", &sequence[example * 152..][..152], &expected);
    }
    let ((sigma, _), (embedding, shape)) = (of("sig_embed"), of("embedding"));
    let mean = |i: usize| (0..3).map(|token| text[i / 8 * 24 + token * 8 + i % 8]).sum::<f32>() / 3.0;
    let expected: Vec<f32> = (0..16).map(|i| sigma[i] + mean(i)).collect();
    let data = |values: Vec<f32>| TensorData::new(values, shape.clone());
    assert_close("embedding", data(embedding), data(expected), B::TOLERANCE);
}

/// What becomes of the text behind the last block is not read; what becomes of each patch is.
fn the_output_is_that_of_the_patches<B: TestBackend>(device: &B::Device) {
    let one_added = |token: usize| {
        move |name: &str, data: TensorData| {
            let mut values = data.to_vec::<f32>().unwrap();
            if name == "blocks.modules.1" {
                // Not to all of them alike, which a norm would take back.
                values[token * 8] += 1.0;
            }
            TensorData::new(values, data.shape)
        }
    };
    let (seen, expected) = traced::<B>(device, |_, data| data);
    assert!(seen.iter().any(|(name, data)| name == "blocks.modules.1" && data.shape[..] == [2, 19, 8]));
    for token in 0..19 {
        let (_, found) = traced::<B>(device, one_added(token));
        let differ = |patch: usize| {
            // Patches of 2·2 pixels in images of 8·8, row by row.
            let first = patch / 4 * 16 + patch % 4 * 2;
            found[first].to_bits() != expected[first].to_bits()
        };
        let found: Vec<usize> = (0..16).filter(|&patch| differ(patch)).collect();
        let expected: Vec<usize> = token.checked_sub(3).into_iter().collect();
        assert_eq!(found, expected, "patches that token {token} reaches");
    }
}

fn distance(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// Each token of a text tells, and so does their order.
fn another_text_gives_another_output<B: TestBackend>(device: &B::Device) {
    let (network, text) = (network::<B>(device), texts(&[1]));
    let output = told(&network, text.clone(), device);
    let changed = |change: &dyn Fn(&mut [f32])| {
        let mut values = text.values().to_vec();
        change(&mut values);
        let found = told(&network, Tokens::new(values, text.shape()), device);
        distance(&found, &output)
    };
    for token in 0..3 {
        let far = changed(&|values| values[token * 5] += 1.0);
        assert!(far > 1e-3, "token {token} changed the output by {far:e}");
    }
    let far = changed(&|values| values.rotate_left(5));
    assert!(far > 1e-5, "another order changed the output by {far:e}");
    assert_eq!(changed(&|_| ()), 0.0);
}

fn nothing_of_a_forgotten_text_is_left<B: TestBackend>(device: &B::Device) {
    let network = network::<B>(device);
    let wild = Tokens::new(vec![f32::NAN; 30], [2, 3, 5]);
    let none = told(&network, network.null_condition(&texts(&[1, 2])), device);
    for text in [texts(&[3, 4]), wild.clone()] {
        assert_same_bits("null", &told(&network, network.null_condition(&text), device), &none);
        assert_same_bits("forgotten", &told(&network, text.forget(|_| true), device), &none);
    }
    // Zeros are a text, and no text is not.
    let zeros = told(&network, Tokens::new(vec![0.0; 30], [2, 3, 5]), device);
    assert!(distance(&none, &zeros) > 1e-3);
    // The other example keeps its own.
    let (one, both) = (texts(&[1, 2]).forget(|i| i == 0), texts(&[9, 2]).forget(|i| i == 0));
    assert_same_bits("half", &told(&network, one, device), &told(&network, both, device));
}

fn what_stands_for_no_text_is_learned_from_forgotten_texts_alone<B: TestBackend>(device: &B::Device) {
    let network = network::<Autodiff<B>>(device);
    let size = |texts: Tokens| {
        let (x, sigma) = inputs(2, device);
        let gradients = network.forward(x, sigma, texts).square().mean().backward();
        let largest =
            |gradient: Option<Tensor<B, 2>>| gradient.map_or(0.0, |g| distance(&bits(g), &[0.0; 64]));
        let embedder = &network.cond_embed;
        [&embedder.no_text, &embedder.pos_embed, &embedder.proj.weight]
            .map(|parameter| largest(parameter.val().grad(&gradients)))
    };
    let [none, places, weight] = size(texts(&[1, 2]));
    assert!(none == 0.0 && places > 1e-6 && weight > 1e-6, "{none:e}, {places:e}, {weight:e}");
    let [none, places, weight] = size(texts(&[1, 2]).forget(|i| i == 1));
    assert!(none > 1e-6 && places > 1e-6 && weight > 1e-6, "{none:e}, {places:e}, {weight:e}");
}

fn examples_do_not_mix<B: TestBackend>(device: &B::Device) {
    let network = network::<B>(device);
    let (x, sigma) = inputs(2, device);
    let condition = texts(&[1, 2]).forget(|i| i == 1);
    let both = network.forward(x.clone(), sigma.clone(), condition).into_data();
    let alone = [texts(&[1]), texts(&[2]).forget(|_| true)].into_iter().enumerate().map(|(i, text)| {
        bits(network.forward(x.clone().narrow(0, i, 1), sigma.clone().narrow(0, i, 1), text))
    });
    let alone = TensorData::new(alone.collect::<Vec<_>>().concat(), both.shape.clone());
    assert_close("output", both, alone, B::TOLERANCE);
}

fn texts_are_forgotten_below_the_probability<B: TestBackend>(device: &B::Device) {
    let draws = [0.0, 0.299_999, 0.3, 0.300_001, 0.999_999];
    let texts = || texts(&[1, 2, 3, 4, 5]);
    for (dropout, below) in [(0.3, 2), (0.0, 0), (1.0, 5)] {
        let config = CondEmbedderTextConfig { dropout, ..config() };
        let expected = texts().forget(|example| example < below);
        let network = dit_config().init_text::<B>(&config, 0, device);
        let mut asked = Vec::new();
        let found = Network::drop_condition(&network, texts(), &mut |i| {
            asked.push(i);
            draws[i]
        });
        assert_eq!((found, asked), (expected.clone(), vec![0, 1, 2, 3, 4]));
        let any = dit_config().init_any_text::<B>(&config, 0, device);
        let found = Network::drop_condition(&any, texts().into(), &mut |i| draws[i]);
        assert_eq!(found, expected.into());
    }
}

fn guidance_compares_with_no_text<B: TestBackend>(device: &B::Device) {
    let model = Diffusion::new(network::<B>(device), EpsPrediction);
    let (text, (x, _)) = (texts(&[1, 2]), inputs(2, device));
    let null = model.network.null_condition(&text);
    let alone = |texts: Tokens| model.given(texts).evaluate(x.clone(), 0.8).denoised();
    let expected = alone(text.clone()) * 3.0 - alone(null) * 2.0;
    let found = model.given(text).guided(2.0).evaluate(x.clone(), 0.8).denoised();
    assert_close("denoised", found.into_data(), expected.into_data(), 10.0 * B::TOLERANCE);
}

fn parameters_are_counted<B: TestBackend>(device: &B::Device) {
    let (dit, text) = (dit_config(), config());
    let (one, any) = (dit.init_text::<B>(&text, 3, device), dit.init_any_text::<B>(&text, 3, device));
    let counted = dit.num_params_with_text(&text);
    assert_eq!((one.num_params() as u128, any.num_params() as u128), (counted, counted));
    assert_eq!(one.cond_embed.num_params() as u128, text.num_params(8));
    for (found, expected) in parameters(&any).iter().zip(&parameters(&one)) {
        assert_same_bits("parameter", found, expected);
    }
    let (x, sigma) = inputs(2, device);
    let mut any = any;
    any.final_linear = network::<B>(device).final_linear;
    let found = bits(any.forward(x, sigma, texts(&[1, 2]).into()));
    assert_same_bits("output", &found, &told(&network::<B>(device), texts(&[1, 2]), device));
    assert_eq!(any.null_condition(&texts(&[1, 2]).into()), Tokens::none([2, 3, 5]).into());
}

fn weights_go_out_and_in<B: TestBackend>(device: &B::Device) {
    let (from, to) = (network::<B>(device), dit_config().init_text::<B>(&config(), 4, device));
    let weights = state_dict::<B, _, 4>(&from);
    let names = |name: &&str| name.starts_with("cond_embed.");
    let names: Vec<&str> = weights.names().filter(names).collect();
    let expected =
        ["no_text", "pos_embed", "proj.bias", "proj.weight"].map(|name| format!("cond_embed.{name}"));
    assert_eq!(names, expected);
    let to = load_state_dict(to, &weights).unwrap();
    for (found, expected) in parameters(&to).iter().zip(&parameters(&from)) {
        assert_same_bits("parameter", found, expected);
    }
}

fn texts_of_another_shape_are_refused<B: TestBackend>(device: &B::Device) {
    let network = network::<B>(device);
    for shape in [[2, 4, 5], [2, 3, 6], [2, 5, 3]] {
        let panic = catch_unwind(AssertUnwindSafe(|| told(&network, Tokens::none(shape), device)));
        let panic = panic.unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("[3, 5]") && message.contains(&format!("{:?}", &shape[1..])), "{message}");
    }
}

fn a_condition_of_another_kind_is_refused<B: TestBackend>(device: &B::Device) {
    let network = dit_config().init_any_text::<B>(&config(), 0, device);
    for (condition, expected) in [
        (AnyCondition::None, "the network was given no condition, expected tokens"),
        (Labels(vec![1]).into(), "the network was given labels, expected tokens"),
    ] {
        let (x, sigma) = inputs(1, device);
        let panic = catch_unwind(AssertUnwindSafe(|| network.forward(x, sigma, condition)));
        assert_eq!(panic.unwrap_err().downcast_ref::<String>().map(String::as_str), Some(expected));
    }
}
