//! Muon for hidden matrices, AdamW for the rest.

use crate::support::spec::named;
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use diffusion::core::layer::{CondEmbedderLabelConfig, CondEmbedderTextConfig};
use diffusion::core::network::dit::{Dit, DitConfig};
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction};
use diffusion::data::{Batches, Points};
use diffusion::train::{Checkpoint, MuonConfig, OptimizerConfig, TrainConfig, hidden_matrices, train};
use diffusion::weights::{NameTable, StateDict, shapes, state_dict};
use diffusion_tests::{TestBackend, backend_tests};
use std::sync::Arc;

backend_tests!(
    hidden_matrices_are_those_inside,
    the_rest_is_trained_by_adamw,
    another_optimizer_begins_without_the_other_s_state,
);

/// Training at length, whose outcome is the method's and not the device's: on one backend.
#[cfg(feature = "flex")]
mod on_flex {
    use burn::backend::Flex;

    #[test]
    fn a_transformer_learns_no_slower_than_by_adamw() {
        super::a_transformer_learns_no_slower_than_by_adamw::<Flex>(&Default::default());
    }
}

fn dit_config(depth: usize) -> DitConfig {
    DitConfig {
        in_dim: 8,
        channels: 1,
        patch_size: 4,
        depth,
        head_dim: 8,
        num_heads: 2,
        ..Default::default()
    }
}

fn dit<B: Backend>(device: &B::Device) -> Dit<B> {
    dit_config(2).init(1, device)
}

/// The rule's table: what is trained by Muon in each kind of network; all else is AdamW's.
fn hidden_matrices_are_those_inside<B: TestBackend>(device: &B::Device) {
    let blocks: Vec<String> = (0..2)
        .flat_map(|i| {
            ["attn.qkv", "attn.proj", "mlp_in", "mlp_out"]
                .map(|layer| format!("blocks.modules.{i}.{layer}.weight"))
        })
        .collect();
    assert_eq!(hidden_matrices(&dit::<B>(device)), blocks);
    let labels = CondEmbedderLabelConfig::new(4);
    let conditional = dit_config(2).init_conditional::<B>(&labels, 1, device);
    assert_eq!(hidden_matrices(&conditional), blocks);
    let text = CondEmbedderTextConfig::new(3, 12);
    assert_eq!(hidden_matrices(&dit_config(2).init_text::<B>(&text, 1, device)), blocks);
    // In a model the same, under its name.
    let model = Diffusion::new(dit::<B>(device), EpsPrediction);
    let within: Vec<String> = blocks.iter().map(|path| format!("network.{path}")).collect();
    assert_eq!(hidden_matrices(&model), within);

    let mlp = |hidden_dims: &[usize]| TimeInputMlpConfig {
        dim: 2,
        hidden_dims: hidden_dims.to_vec(),
        ..Default::default()
    };
    assert_eq!(hidden_matrices(&mlp(&[8, 16, 8]).init::<B>(1, device)), ["net.1.weight", "net.2.weight"]);
    assert_eq!(hidden_matrices(&mlp(&[8]).init::<B>(1, device)), [""; 0]);
    let config = ConditionalMlpConfig { hidden_dims: vec![8, 8], cond_dim: 4, labels, ..Default::default() };
    assert_eq!(hidden_matrices(&config.init::<B>(1, device)), ["net.1.weight"]);

    let unet = UnetConfig {
        in_dim: 4,
        in_ch: 1,
        out_ch: 1,
        ch: 32,
        ch_mult: vec![1, 1],
        embed_ch_mult: 1,
        num_res_blocks: 1,
        attn_resolutions: vec![2],
        ..Default::default()
    };
    let found = hidden_matrices(&unet.init::<B>(1, device));
    for inside in [
        "downs.0.blocks.0.resnet.conv1.weight",
        "downs.0.blocks.0.resnet.temb_proj.weight",
        "downs.0.downsample.conv.weight",
        "downs.1.blocks.0.attn.attn.qkv.weight",
        "mid.first.conv2.weight",
        "mid.attn.proj_out.weight",
        "ups.1.blocks.1.resnet.conv1.weight",
    ] {
        assert!(found.iter().any(|path| path == inside), "{inside} in {found:#?}");
    }
    for outside in ["conv_in", "out_conv", "sig_embed", "cond_embed", "norm", "bias"] {
        assert!(found.iter().all(|path| !path.contains(outside)), "{outside} in {found:#?}");
    }
}

fn images() -> Arc<Points<()>> {
    let values = (0..64 * 12).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    Arc::new(Points::new(values, &[1, 8, 8]))
}

fn config(steps: u64, optimizer: OptimizerConfig) -> TrainConfig {
    TrainConfig { seed: 5, optimizer, ..TrainConfig::new(steps) }
}

/// Where Muon makes steps of another length, nothing but the hidden matrices is otherwise after one step.
fn the_rest_is_trained_by_adamw<B: TestBackend>(device: &B::Device) {
    let after = |optimizer: OptimizerConfig| {
        let model = Diffusion::<Autodiff<B>, _, _>::new(dit(device), EpsPrediction);
        let config = config(1, optimizer);
        let mut run = train(Batches::new(images(), 4, 5), model, LogLinear::new(50, 0.01, 5.0), &config);
        run.next().unwrap().unwrap();
        run.model()
    };
    let muon = |lr_factor| OptimizerConfig::Muon(MuonConfig { lr_factor, ..MuonConfig::default() });
    let (adamw, by_muon, longer) = (after(OptimizerConfig::Adamw), after(muon(1.0)), after(muon(2.0)));
    let paths = shapes(&adamw, &NameTable::own_paths(), &[]);
    let hidden = hidden_matrices(&adamw);
    let dicts = [&adamw, &by_muon, &longer].map(|model| state_dict(model, &NameTable::own_paths(), &[]));
    let values = |dict: &StateDict, path: &str| dict.get(path).unwrap().clone();
    for path in paths.keys() {
        let [a, b, c] = [0, 1, 2].map(|i| values(&dicts[i], path));
        let is_hidden = hidden.contains(path);
        assert_eq!(a != b, is_hidden, "{path} by AdamW and by Muon");
        assert_eq!(b != c, is_hidden, "{path} by Muon and by longer steps of it");
    }
}

/// A checkpoint knows who trained what, so that no mean gradient is taken for another.
fn another_optimizer_begins_without_the_other_s_state<B: TestBackend>(device: &B::Device) {
    let (folder, spec) = (tempfile::tempdir().unwrap(), named("dit", "eps", "log-linear"));
    let run = |steps, optimizer: &OptimizerConfig, from| {
        let model = Diffusion::<Autodiff<B>, _, _>::new(dit(device), EpsPrediction);
        let batches = Batches::new(images(), 4, 5).starting_at(from);
        train(batches, model, LogLinear::new(50, 0.01, 5.0), &config(steps, optimizer.clone()))
    };
    let (adamw, muon) = (OptimizerConfig::Adamw, OptimizerConfig::Muon(MuonConfig::default()));
    for (first, second) in [(&adamw, &muon), (&muon, &adamw), (&muon, &muon)] {
        let mut before = run(2, first, 0);
        before.by_ref().for_each(|step| drop(step.unwrap()));
        let checkpoint = before.save(folder.path(), &spec, None).unwrap();
        let state = checkpoint.state().optimizer.clone().unwrap();
        let hidden = hidden_matrices(&before.model());
        assert_eq!(state.muon.len(), if first == &muon { hidden.len() } else { 0 });
        let mut after = run(3, second, 2).resume(&checkpoint, &spec).unwrap();
        after.next().unwrap().unwrap();
        let saved = after.save(folder.path(), &spec, None).unwrap();
        let state = saved.state().optimizer.clone().unwrap();
        // Three updates of what was trained on as before, one of what another took over.
        let expected = if first == second { Vec::new() } else { hidden };
        assert_eq!(state.fewer.keys().cloned().collect::<Vec<_>>(), sorted(expected));
        assert!(state.updates == 3 && state.fewer.values().all(|&updates| updates == 1));
        let again = Checkpoint::open(saved.path()).unwrap();
        assert_eq!(again.state().optimizer, Some(state));
    }
}

fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}

/// The mean loss of the last steps, each at the better of two learning rates, on the same batches and noise. At small
/// rates a network as small as this one learns a little faster by AdamW.
#[cfg(feature = "flex")]
fn a_transformer_learns_no_slower_than_by_adamw<B: TestBackend>(device: &B::Device) {
    let loss = |optimizer: &OptimizerConfig, lr| {
        let model = Diffusion::<Autodiff<B>, _, _>::new(dit(device), EpsPrediction);
        let config = TrainConfig { lr, ..config(150, optimizer.clone()) };
        let run = train(Batches::new(images(), 12, 5), model, LogLinear::new(50, 0.05, 5.0), &config);
        let losses: Vec<f64> = run.map(|step| step.unwrap().loss()).collect();
        losses[100..].iter().sum::<f64>() / 50.0
    };
    let best = |optimizer: OptimizerConfig| loss(&optimizer, 8e-3).min(loss(&optimizer, 1.6e-2));
    let (adamw, muon) = (best(OptimizerConfig::Adamw), best(OptimizerConfig::Muon(MuonConfig::default())));
    assert!(muon < adamw, "{muon} by Muon, {adamw} by AdamW");
    // It begins at 1.
    assert!(muon < 0.5, "{muon}");
}
