//! LoRA, against diffusers' `load_lora_weights`, and trained by our loop.

use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, write_tensors};
use crate::support::hashed::hashed;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::{Network, Tokens};
use diffusion::latent::{
    LatentError, LatentSchedule, Lora, LoraConfig, LoraFile, LoraPart, LoraProblem, SizedUnet, TextCondition,
    TextEncoder, UNet2DConditionModel,
};
use diffusion::weights::Place;
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

backend_tests!(
    both_dialects_change_the_unet,
    both_dialects_change_the_text_encoder,
    gradients_are_of_the_pairs_alone,
    a_frozen_base_changes_no_gradient,
);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// The tensors of a file in the dialect `dialect`.
fn tensors(dialect: &str) -> Tensors {
    let values = |name: &str, shape: &[usize]| if shape.is_empty() { vec![1.0] } else { hashed(name, shape) };
    let latent = Latent::read();
    latent.lora[dialect]
        .iter()
        .map(|(name, shape)| (name.clone(), shape.clone(), values(name, shape)))
        .collect()
}

fn written(folder: &Folder, tensors: Tensors) -> PathBuf {
    let path = folder.join("lora.safetensors");
    write_tensors(&path, tensors);
    path
}

fn unet<B: Backend>(folder: &Folder, device: &B::Device) -> UNet2DConditionModel<B> {
    UNet2DConditionModel::open(folder.path(), device).unwrap()
}

fn answer<B: Backend>(unet: &UNet2DConditionModel<B>, device: &B::Device) -> Tensor<B, 4> {
    let fixture = Fixture::open("latent");
    let x = fixture.tensor("unet.in.x", device);
    unet.forward(x, fixture.tensor("unet.in.t", device), fixture.tensor("unet.in.context", device), None)
}

fn both_dialects_change_the_unet<B: TestBackend>(device: &B::Device) {
    let (folder, fixture) = (Folder::new("sd1"), Fixture::open("latent"));
    for dialect in ["kohya", "peft"] {
        let file = LoraFile::open(written(&folder, tensors(dialect))).unwrap();
        assert_eq!(file.parts(), [LoraPart::Unet, LoraPart::TextEncoder]);
        let plain = unet::<B>(&folder, device);
        let changed = file.apply(LoraPart::Unet, plain.clone(), 0.7).unwrap();
        let expected = fixture.data(&format!("lora.out.{dialect}_unet"));
        assert_close(dialect, answer(&changed, device).into_data(), expected, TOLERANCE);
        let back = file.apply_to_unet(changed, -0.7).unwrap();
        let expected = answer(&plain, device).into_data();
        assert_close("taken out again", answer(&back, device).into_data(), expected, TOLERANCE);
    }
}

fn both_dialects_change_the_text_encoder<B: TestBackend>(device: &B::Device) {
    let (folder, fixture) = (Folder::new("sd1"), Fixture::open("latent"));
    let ids = fixture.numbers("sd1.text.in.ids");
    let ids: Vec<Vec<usize>> =
        ids.chunks(16).map(|ids| ids.iter().map(|&id| id as usize).collect()).collect();
    for dialect in ["kohya", "peft"] {
        let file = LoraFile::open(written(&folder, tensors(dialect))).unwrap();
        let plain = TextEncoder::<B>::open(folder.path(), "text_encoder", device).unwrap();
        let changed = file.apply(LoraPart::TextEncoder, plain, 0.7).unwrap();
        let expected = fixture.data(&format!("lora.out.{dialect}_text"));
        assert_close(dialect, changed.forward(&ids).last.into_data(), expected, TOLERANCE);
    }
}

fn sized<B: Backend>(device: &B::Device) -> SizedUnet<B> {
    let folder = Folder::new("sd1");
    let timesteps = LatentSchedule::open(folder.path()).unwrap().timesteps().clone();
    let empty = TextCondition::from(Tokens::new(vec![0.0; 16 * 32], [1, 16, 32]));
    SizedUnet::new(unet(&folder, device), [8, 8], 2, timesteps, empty)
}

fn text(batch: usize) -> TextCondition {
    let values = hashed("text", &[batch * 16, 32]);
    Tokens::new(values, [batch, 16, 32]).into()
}

/// One product for each layer: attention, an MLP and 3×3 kernels.
fn config() -> LoraConfig {
    let targets = ["to_q", "to_out.0", "ff.net.2", "conv1"].map(str::to_string).to_vec();
    LoraConfig { rank: 2, alpha: 3.0, targets }
}

fn loss<B: Backend, N: Network<B, 4, Condition = TextCondition>>(
    network: &N,
    device: &B::Device,
) -> Tensor<B, 1> {
    let fixture = Fixture::open("latent");
    let x: Tensor<B, 4> = fixture.tensor("unet.in.x", device);
    let sigma = Tensor::from_floats([0.1, 1.0, 5.0], device);
    network.forward(x, sigma, text(3)).square().mean()
}

/// By the gradient of a weight W that is trained itself: that of the second matrix is s·∂W·downᵀ while the product is zero.
fn gradients_are_of_the_pairs_alone<B: TestBackend>(device: &B::Device) {
    let plain = sized::<Autodiff<B>>(device);
    let gradients = loss(&plain, device).backward();
    let attention = |unet: &UNet2DConditionModel<Autodiff<B>>| {
        unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight.clone()
    };
    let kernel =
        |unet: &UNet2DConditionModel<Autodiff<B>>| unet.down_blocks[0].resnets[0].conv1.weight.clone();
    let of_attention = attention(&plain.unet).val().grad(&gradients).unwrap(); // [inputs, outputs]
    let of_kernel = kernel(&plain.unet).val().grad(&gradients).unwrap();

    let lora = config().init(plain, 0, device).unwrap();
    let mut gradients = loss(&lora, device).backward();
    assert!(attention(&lora.base().unet).val().grad(&gradients).is_none());
    assert!(lora.base().unet.conv_in.weight.val().grad(&gradients).is_none());
    let place = |name: &str| lora.layers().position(|layer| layer == name).unwrap();
    let pair = &lora.pairs[place("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q")];
    let found = pair.up.val().grad(&gradients).unwrap();
    let expected = pair.down.val().inner().matmul(of_attention).transpose() * 1.5;
    assert_close("attention", found.into_data(), expected.into_data(), TOLERANCE);
    let pair = &lora.pairs[place("unet.down_blocks.0.resnets.0.conv1")];
    let found = pair.up.val().grad(&gradients).unwrap();
    let expected = of_kernel.flatten::<2>(1, 3).matmul(pair.down.val().inner().transpose()) * 1.5;
    assert_close("kernels", found.into_data(), expected.into_data(), TOLERANCE);
    for pair in &lora.pairs {
        assert!(pair.up.val().grad_remove(&mut gradients).is_some());
    }
}

/// Pairs of which neither matrix is zero.
fn begun<B: Backend>(device: &B::Device) -> Lora<B, SizedUnet<B>> {
    let mut lora = config().init(sized::<B>(device), 0, device).unwrap();
    for (i, pair) in lora.pairs.iter_mut().enumerate() {
        let shape = pair.up.dims();
        let values: Vec<f32> = hashed(&format!("up {i}"), &shape).iter().map(|value| value / 4.0).collect();
        pair.up = Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device));
    }
    lora
}

/// The gradients of the weights of layers, `[outputs, inputs]`, by their names.
struct OfLayers<'a, B: AutodiffBackend> {
    place: Place<'a>,
    gradients: &'a B::Gradients,
    found: BTreeMap<String, Tensor<B::InnerBackend, 2>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for OfLayers<'_, B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = param.val().grad(self.gradients).expect("every weight is tracked");
        let Some(layer) = self.place.name().strip_suffix(".weight").filter(|_| D > 1) else { return };
        let gradient = match self.place.is_transposed() {
            true => gradient.flatten::<2>(1, D - 1).transpose(),
            false => gradient.flatten::<2>(1, D - 1),
        };
        self.found.insert(layer.to_string(), gradient);
    }
}

/// A module whose weights are all tracked, and no part of a graph.
struct Tracked;

impl<B: Backend> ModuleMapper<B> for Tracked {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|weight| weight.detach().require_grad())
    }
}

/// Where nothing but the pairs is tracked, their gradients are those that follow from the weights' own, of the network that
/// has the products in its weights and is tracked as a whole: of `W + s·up·down`, `s·∂W·downᵀ` and `s·upᵀ·∂W`.
/// Burn 0.21 is reported to get this wrong on some backends.
fn a_frozen_base_changes_no_gradient<B: TestBackend>(device: &B::Device) {
    let (lora, names) = (begun::<Autodiff<B>>(device), diffusion::latent::folder::names());
    let gradients = loss(&lora, device).backward();
    let whole = lora.merged().map(&mut Tracked);
    let of_whole = loss(&whole, device).backward();
    let mut layers: OfLayers<'_, Autodiff<B>> =
        OfLayers { place: Place::new(&names), gradients: &of_whole, found: BTreeMap::new() };
    whole.visit(&mut layers);
    for (layer, pair) in lora.layers().zip(&lora.pairs) {
        let of_weight = layers.found[layer].clone() * 1.5;
        let [down, up] = [&pair.down, &pair.up].map(|matrix| matrix.val().inner());
        for (matrix, found, expected) in [
            ("down", &pair.down, up.transpose().matmul(of_weight.clone())),
            ("up", &pair.up, of_weight.matmul(down.transpose())),
        ] {
            let found = found.val().grad(&gradients).unwrap();
            assert_close(&format!("{layer}, {matrix}"), found.into_data(), expected.into_data(), TOLERANCE);
        }
    }
}

#[cfg(feature = "flex")]
mod files {
    use super::*;
    use burn::backend::Flex;
    use diffusion::core::{Diffusion, EpsPrediction, Scaled};
    use diffusion::train::{TrainConfig, train};

    /// Of differences.
    const STEP: f64 = 0.01;

    fn problems(tensors: Tensors) -> Vec<LoraProblem> {
        let folder = Folder::new("sd1");
        let device = Default::default();
        let found = LoraFile::open(written(&folder, tensors))
            .and_then(|file| file.apply(LoraPart::Unet, unet::<Flex>(&folder, &device), 1.0));
        let Err(LatentError::Lora { problems, of_another: false, .. }) = found else { panic!("{found:?}") };
        problems
    }

    #[test]
    fn all_that_has_no_place_is_in_one_error() {
        let mut file = tensors("peft");
        for (name, shape) in [
            ("unet.down_blocks.7.attentions.0.proj_in.lora_A.weight", vec![2, 3]),
            ("unet.down_blocks.7.attentions.0.proj_in.lora_B.weight", vec![3, 2]),
            // A norm is no layer with LoRA.
            ("unet.conv_norm_out.lora_A.weight", vec![2, 32]),
            ("unet.conv_norm_out.lora_B.weight", vec![1, 2]),
        ] {
            let count = shape.iter().product();
            file.push((name.to_string(), shape, vec![1.0; count]));
        }
        let (wrong, rank) = (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v.lora_A.weight",
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight",
        );
        for (name, shape, values) in &mut file {
            if name == wrong || name == rank {
                (*shape, *values) = (vec![3, 5], vec![1.0; 15]);
            }
        }
        let mut found: Vec<_> = problems(file)
            .into_iter()
            .map(|problem| match problem {
                LoraProblem::NoPlace { name } => format!("no place {name}"),
                LoraProblem::Shape { name, .. } => format!("shape {name}"),
                problem => panic!("{problem}"),
            })
            .collect();
        found.sort();
        let expected = [
            "no place unet.conv_norm_out.lora_A.weight".to_string(),
            "no place unet.conv_norm_out.lora_B.weight".to_string(),
            "no place unet.down_blocks.7.attentions.0.proj_in.lora_A.weight".to_string(),
            "no place unet.down_blocks.7.attentions.0.proj_in.lora_B.weight".to_string(),
            format!("shape {rank}"),
            format!("shape {wrong}"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_lora_or_of_another_model_is_told_in_short() {
        let folder = Folder::new("sd1");
        let path = folder.join("unet/diffusion_pytorch_model.safetensors");
        let error = LoraFile::open(&path).unwrap_err();
        let LatentError::NoLora { tensors, .. } = &error else { panic!("{error}") };
        assert!(*tensors > 100 && error.to_string().matches("weight`").count() <= 1, "{error}");

        let device = Default::default();
        let other: Tensors = (0..20)
            .flat_map(|i| {
                let layer = format!("unet.down_blocks.7.attentions.{i}.proj_in");
                ["A", "B"].map(|which| (format!("{layer}.lora_{which}.weight"), vec![2, 2], vec![1.0; 4]))
            })
            .collect();
        let file = LoraFile::open(written(&folder, other)).unwrap();
        let error = file.apply(LoraPart::Unet, unet::<Flex>(&folder, &device), 1.0).unwrap_err();
        let LatentError::Lora { of_another: true, problems, .. } = &error else { panic!("{error}") };
        let text = error.to_string();
        assert_eq!((problems.len(), text.matches("lora_").count()), (40, 5), "{text}");
        assert!(text.contains("35 more"), "{text}");
    }

    #[test]
    fn other_adapters_and_halves_are_named() {
        let layer = "lora_unet_mid_block_attentions_0_proj_in";
        for (name, expected) in [
            ("hada_w1_a", LoraProblem::Kind { name: format!("{layer}.hada_w1_a"), kind: "LoHa" }),
            ("dora_scale", LoraProblem::Kind { name: format!("{layer}.dora_scale"), kind: "DoRA" }),
            (
                "lora_mid.weight",
                LoraProblem::Kind {
                    name: format!("{layer}.lora_mid.weight"),
                    kind: "LoCon with a Tucker core",
                },
            ),
            ("something", LoraProblem::Unknown { name: format!("{layer}.something") }),
        ] {
            let mut file = tensors("kohya");
            file.push((format!("{layer}.{name}"), vec![1], vec![1.0]));
            assert_eq!(problems(file), [expected]);
        }
        let mut file = tensors("kohya");
        file.retain(|(name, _, _)| *name != format!("{layer}.lora_up.weight"));
        let alone = |end: &str| LoraProblem::Alone { name: format!("{layer}.{end}") };
        assert_eq!(problems(file), [alone("lora_down.weight"), alone("alpha")]);
        let mut file = tensors("kohya");
        let down = format!("{layer}.lora_down.weight");
        file.iter_mut().find(|(name, _, _)| *name == down).unwrap().2[3] = f32::NAN;
        assert_eq!(problems(file), [LoraProblem::Values { name: down }]);
    }

    /// The names of a layer in all dialects, and α where it stands.
    #[test]
    fn kernels_and_dialects() {
        let (folder, device) = (Folder::new("sd1"), Default::default());
        let plain = unet::<Flex>(&folder, &device);
        let weight = |unet: &UNet2DConditionModel<Flex>| unet.down_blocks[0].resnets[0].conv1.weight.val();
        let (rank, shape) = (3, [32, 32, 3, 3]);
        let (down, up) = (hashed("down", &[rank, 32 * 9]), hashed("up", &[32, rank]));
        let product = |scale: f32| {
            let value = |i: usize| {
                let (out, rest) = (i / (32 * 9), i % (32 * 9));
                (0..rank).map(|r| scale * up[out * rank + r] * down[r * 32 * 9 + rest]).sum::<f32>()
            };
            let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            weight(&plain) + Tensor::from_data(TensorData::new(values, shape), &device)
        };
        let pair = |a: &str, b: &str| {
            vec![
                (a.to_string(), vec![rank, 32, 3, 3], down.clone()),
                (b.to_string(), vec![32, rank, 1, 1], up.clone()),
            ]
        };
        let dotted = "down_blocks.0.resnets.0.conv1";
        let flat = "lora_unet_down_blocks_0_resnets_0_conv1";
        for (start, ends, alpha, scale) in [
            (flat.to_string(), ["lora_down", "lora_up"], Some(6.0), 2.0),
            ("lora_unet_input_blocks_1_0_in_layers_2".to_string(), ["lora_down", "lora_up"], Some(1.5), 0.5),
            (format!("unet.{dotted}"), ["lora.down", "lora.up"], None, 1.0),
            (format!("base_model.model.{dotted}"), ["lora_A.default", "lora_B.default"], None, 1.0),
            (format!("unet.{dotted}"), ["lora_A", "lora_B"], Some(9.0), 3.0),
        ] {
            let [a, b] = ends.map(|end| format!("{start}.{end}.weight"));
            let mut file = pair(&a, &b);
            file.extend(alpha.map(|alpha| (format!("{start}.alpha"), vec![], vec![alpha])));
            let file = LoraFile::open(written(&folder, file)).unwrap();
            let changed = file.apply_to_unet(plain.clone(), 1.0).unwrap();
            assert_close(&start, weight(&changed).into_data(), product(scale).into_data(), TOLERANCE);
        }
        // PEFT's α stands in a file beside.
        let [a, b] = ["lora_A", "lora_B"].map(|end| format!("base_model.model.{dotted}.{end}.weight"));
        let path = written(&folder, pair(&a, &b));
        for (settings, scale) in [
            (r#"{"peft_type": "LORA", "lora_alpha": 12, "use_rslora": false}"#, 4.0),
            (r#"{"peft_type": "LORA", "lora_alpha": 12, "use_rslora": true}"#, 12.0 / 3f32.sqrt()),
        ] {
            crate::support::folders::write(&folder.join("adapter_config.json"), settings.as_bytes());
            let changed = LoraFile::open(&path).unwrap().apply_to_unet(plain.clone(), 1.0).unwrap();
            assert_close(settings, weight(&changed).into_data(), product(scale).into_data(), TOLERANCE);
        }
        crate::support::folders::write(&folder.join("adapter_config.json"), br#"{"use_dora": true}"#);
        let Err(LatentError::Setting { key, .. }) = LoraFile::open(&path) else { panic!("DoRA was read") };
        assert_eq!(key, "use_dora");
    }

    fn merged_by_file(lora: &Lora<Flex, SizedUnet<Flex>>, path: &Path) -> SizedUnet<Flex> {
        lora.save(path).unwrap();
        LoraFile::open(path).unwrap().apply(LoraPart::Unet, lora.base().clone(), 1.0).unwrap()
    }

    #[test]
    fn pairs_are_trained_by_the_loop_and_read_again() {
        let device = Default::default();
        let network = config().init(sized::<Autodiff<Flex>>(&device), 0, &device).unwrap();
        let before = network.merged().unet.conv_out.weight.val().into_data();
        let pairs: usize = network
            .pairs
            .iter()
            .map(|pair| pair.down.shape().num_elements() + pair.up.shape().num_elements())
            .sum();
        assert_eq!(network.num_params(), pairs);
        let batches = || {
            let latents = TensorData::new(hashed("latents", &[2, 4, 8, 8]), [2, 4, 8, 8]);
            std::iter::repeat((latents, text(2)))
        };
        let schedule = diffusion::core::schedule::Ldm::default();
        let model = Diffusion::new(network, Scaled(EpsPrediction));
        let config = TrainConfig { lr: 1e-2, ..TrainConfig::new(20) };
        let mut run = train(batches(), model, schedule, &config);
        let losses: Vec<f64> = run.by_ref().map(|step| step.unwrap().loss()).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..5]), mean(&losses[15..]));
        assert!(last < 0.9 * first, "{losses:?}");

        let trained = run.model().network.clone();
        let folder = Folder::new("sd1");
        let read = merged_by_file(&trained, &folder.join("trained.safetensors"));
        let expected = answer(&trained.merged().unet, &device).into_data();
        assert_close("read again", answer(&read.unet, &device).into_data(), expected, TOLERANCE);
        let unchanged = trained.merged().unet.conv_out.weight.val().into_data();
        assert_eq!(unchanged, before);
        assert_ne!(
            answer(&read.unet, &device).into_data(),
            answer(&sized::<Flex>(&device).unet, &device).into_data()
        );
    }

    /// Along the gradient, and along its signs, in which small entries weigh as much as large ones.
    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let device = Default::default();
        let lora = begun::<Autodiff<Flex>>(&device);
        let gradients = loss(&lora, &device).backward();
        let of = |matrix: &Param<Tensor<Autodiff<Flex>, 2>>| matrix.val().grad(&gradients).unwrap();
        let own: Vec<[Tensor<Flex, 2>; 2]> =
            lora.pairs.iter().map(|pair| [of(&pair.down), of(&pair.up)]).collect();
        let signs = own.iter().map(|pair| pair.clone().map(Tensor::sign)).collect();
        let dot = |one: &[[Tensor<Flex, 2>; 2]], other: &[[Tensor<Flex, 2>; 2]]| {
            let products = one.iter().flatten().zip(other.iter().flatten());
            products.map(|(a, b)| f64::from((a.clone() * b.clone()).sum().into_scalar())).sum::<f64>()
        };
        for direction in [own.clone(), signs] {
            let length = dot(&direction, &direction).sqrt();
            let at = |step: f64| {
                let mut moved = begun::<Flex>(&device);
                for (pair, direction) in moved.pairs.iter_mut().zip(&direction) {
                    let [down, up] = direction.clone().map(|direction| direction * (step / length));
                    pair.down = pair.down.clone().map(|matrix| matrix + down);
                    pair.up = pair.up.clone().map(|matrix| matrix + up);
                }
                f64::from(loss(&moved, &device).into_scalar())
            };
            let (found, expected) = (dot(&own, &direction) / length, (at(STEP) - at(-STEP)) / (2.0 * STEP));
            assert!((found / expected - 1.0).abs() < 5e-3, "{found}, expected {expected}");
        }
    }

    #[test]
    fn targets_must_be_layers_of_the_network() {
        let device = Default::default();
        for (config, setting) in [
            (LoraConfig { targets: vec!["to_x".to_string()], ..config() }, "targets"),
            // Ends of names, not of words.
            (LoraConfig { targets: vec!["o_q".to_string()], ..config() }, "targets"),
            (LoraConfig { rank: 0, ..config() }, "rank"),
            (LoraConfig { alpha: f64::NAN, ..config() }, "alpha"),
        ] {
            let error = config.init(sized::<Flex>(&device), 0, &device).unwrap_err();
            assert_eq!(error.setting, setting);
        }
    }
}
