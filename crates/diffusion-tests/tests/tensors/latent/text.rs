use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, write_hashed};
use burn::tensor::TensorData;
use diffusion::core::Tokens;
use diffusion::latent::{LatentError, PromptEncoder, TextEncoder};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(the_states_of_tokens, prompts_of_one_encoder, prompts_of_two_encoders, activations_of_clip);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

/// Those of `latent.py`.
const PROMPTS: [&str; 2] = ["an astronaut riding a horse on mars", "the red fox!"];
const NEGATIVE: [&str; 2] = ["a cat", ""];

fn case(name: &str) -> Fixture {
    Fixture::open("latent").case(name)
}

/// Rows of ids.
fn ids(fixture: &Fixture) -> Vec<Vec<usize>> {
    fixture.numbers("in.ids").chunks(16).map(|ids| ids.iter().map(|&id| id as usize).collect()).collect()
}

fn data(tokens: &Tokens) -> TensorData {
    TensorData::new(tokens.values().to_vec(), tokens.shape())
}

/// Pooled vectors have an axis of one token.
fn pooled(fixture: &Fixture, name: &str) -> TensorData {
    let data = fixture.data(name);
    let [batch, width] = data.shape.to_vec()[..] else { panic!("{:?}", data.shape) };
    TensorData::new(data.iter::<f32>().collect::<Vec<_>>(), [batch, 1, width])
}

fn the_states_of_tokens<B: TestBackend>(device: &B::Device) {
    for name in ["sd1", "sd2"] {
        let fixture = case(&format!("{name}.text"));
        let encoder = TextEncoder::<B>::open(Folder::new(name).path(), "text_encoder", device).unwrap();
        let found = encoder.forward(&ids(&fixture));
        let [last, penultimate] = [found.last, found.penultimate].map(|states| states.into_data());
        assert_close(&format!("{name}: last"), last, fixture.data("out.last"), TOLERANCE);
        assert_close(
            &format!("{name}: penultimate"),
            penultimate,
            fixture.data("out.penultimate"),
            TOLERANCE,
        );
        assert_close(
            &format!("{name}: pooled"),
            found.pooled.into_data(),
            fixture.data("out.pooled"),
            TOLERANCE,
        );
    }
}

fn prompts_of_one_encoder<B: TestBackend>(device: &B::Device) {
    for name in ["sd1", "sd2"] {
        let encoder = PromptEncoder::<B>::open(Folder::new(name).path(), device).unwrap();
        let found = encoder.encode(&PROMPTS);
        assert_close(name, data(&found.tokens), case(&format!("{name}.text")).data("out.last"), TOLERANCE);
        assert_eq!((found.pooled, found.cut), (None, vec![None, None]));
        assert_eq!((encoder.length(), encoder.is_pair()), (16, false));
    }
}

fn prompts_of_two_encoders<B: TestBackend>(device: &B::Device) {
    let fixture = case("sdxl.text");
    let encoder = PromptEncoder::<B>::open(Folder::new("sdxl").path(), device).unwrap();
    assert!(encoder.is_pair());
    let [cond, uncond] = [PROMPTS, NEGATIVE].map(|prompts| encoder.encode(&prompts));
    assert_close("prompts", data(&cond.tokens), fixture.data("out.cond"), TOLERANCE);
    assert_close("against", data(&uncond.tokens), fixture.data("out.uncond"), TOLERANCE);
    let whole = cond.pooled.as_ref().unwrap();
    assert_close("pooled", data(whole), pooled(&fixture, "out.pooled"), TOLERANCE);
    assert_close(
        "pooled against",
        data(uncond.pooled.as_ref().unwrap()),
        pooled(&fixture, "out.unpooled"),
        TOLERANCE,
    );

    let zeros = cond.zeros_like();
    assert_eq!(
        (zeros.tokens.shape(), zeros.pooled.as_ref().unwrap().shape()),
        (cond.tokens.shape(), whole.shape())
    );
    assert!(zeros.tokens.values().iter().chain(zeros.pooled.unwrap().values()).all(|&value| value == 0.0));

    // The first encoder fills the first half of each vector, the second the other and what is pooled.
    let long = ["the horse ".repeat(9), String::new()];
    let both = encoder.encode_pair(&PROMPTS, &[long[0].as_str(), NEGATIVE[1]]);
    assert_eq!(both.cut, [Some("the horse the horse".to_string()), None]);
    let both = encoder.encode_pair(&PROMPTS, &NEGATIVE);
    let halves = cond.tokens.values().chunks(64).zip(uncond.tokens.values().chunks(64));
    let expected: Vec<f32> = halves.flat_map(|(one, other)| [&one[..32], &other[32..]].concat()).collect();
    assert_close("different texts", data(&both.tokens), TensorData::new(expected, both.tokens.shape()), 1e-6);
    assert_close("pooled", data(&both.pooled.unwrap()), data(uncond.pooled.as_ref().unwrap()), 1e-6);
}

fn activations_of_clip<B: TestBackend>(device: &B::Device) {
    let x: Vec<f32> = (-40..=40).map(|i| i as f32 / 4.0).collect();
    let expected: Vec<f64> =
        x.iter().map(|&x| f64::from(x) / (1.0 + (-1.702 * f64::from(x)).exp())).collect();
    let x = burn::tensor::Tensor::<B, 1>::from_data(TensorData::from(&x[..]), device);
    let found = diffusion::core::layer::quick_gelu(x);
    assert_close("quick GELU", found.into_data(), TensorData::from(&expected[..]), TOLERANCE);
}

#[cfg(feature = "flex")]
mod loading {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::DType;
    use diffusion::core::{Noise, layer::attend};
    use diffusion::weights::{TensorProblem, WeightsError};

    /// Of the largest number, in half precision.
    const HALF: f64 = 2e-3;

    const WEIGHTS: &str = "text_encoder_2/model.safetensors";

    /// A mask that is no number of half precision would leave none, or let all be seen.
    #[test]
    fn nothing_ahead_is_seen_in_half_precision() {
        let draw = |seed| Noise::new(seed).initial::<Flex, 3>([1, 5, 16], &Default::default());
        let [q, k, v] = [0, 1, 2].map(draw);
        let whole = attend(q.clone(), k.clone(), v.clone(), 2, true).into_data();
        let [q, k, half] = [q, k, v.clone()].map(|x| x.cast(DType::F16));
        let found = attend(q, k, half, 2, true).cast(DType::F32);
        assert_close("attention", found.clone().into_data(), whole, HALF);
        // The first sees itself alone.
        let [found, expected] = [found, v].map(|x| x.narrow(1, 0, 1).into_data());
        assert_close("the first", found, expected, HALF);
    }

    fn states(folder: &Folder, part: &str) -> Vec<f32> {
        let encoder = TextEncoder::<Flex>::open(folder.join(part), part, &Default::default()).unwrap();
        let found = encoder.forward(&ids(&case("sd1.text")));
        found.last.into_data().iter::<f32>().chain(found.pooled.into_data().iter()).collect()
    }

    #[test]
    fn names_without_a_prefix_and_tensors_of_others() {
        let (folder, latent) = (Folder::new("sdxl"), Latent::read());
        let expected = states(&folder, "text_encoder_2");
        let mut parameters = latent.parameters("sdxl", WEIGHTS).clone();
        for (name, shape) in [
            ("text_model.embeddings.position_ids", vec![1, 16]),
            ("vision_model.encoder.layers.0.mlp.fc1.weight", vec![4, 4]),
            ("visual_projection.weight", vec![4, 4]),
            ("logit_scale", vec![1]),
        ] {
            parameters.insert(name.to_string(), shape);
        }
        let bare = |name: &str| Some(name.strip_prefix("text_model.").unwrap_or(name).to_string());
        for rename in [&bare as &dyn Fn(&str) -> Option<String>, &|name| Some(name.to_string())] {
            write_hashed(&folder.join(WEIGHTS), &parameters, rename);
            assert_eq!(states(&folder, "text_encoder_2"), expected);
        }
        // A class without a projection passes over it.
        folder.edit("text_encoder_2/config.json", |text| {
            text.replace("CLIPTextModelWithProjection", "CLIPTextModel")
        });
        assert_eq!(states(&folder, "text_encoder_2")[..2 * 16 * 32], expected[..2 * 16 * 32]);
    }

    #[test]
    fn a_text_ends_at_its_first_end() {
        let folder = Folder::new("sdxl");
        let encoder =
            |folder: &Folder| TextEncoder::<Flex>::open(folder.path(), "text_encoder_2", &Default::default());
        let pooled = |ids: &[usize]| {
            let found = encoder(&folder).unwrap().forward(&[ids.to_vec()]);
            found.pooled.into_data().iter::<f32>().collect::<Vec<_>>()
        };
        // By number 2, the largest: what follows the end does not count, what precedes does.
        let by_largest = pooled(&[572, 7, 573, 573, 1]);
        assert_eq!(by_largest, pooled(&[572, 7, 573, 2, 0]));
        assert_ne!(by_largest, pooled(&[572, 8, 573, 573, 1]));
        // By its own number, which need not be the largest.
        folder.edit("text_encoder_2/config.json", |text| {
            text.replace(r#""eos_token_id": 2"#, r#""eos_token_id": 7"#)
        });
        assert_ne!(by_largest, pooled(&[572, 7, 573, 573, 1]));
        assert_eq!(pooled(&[572, 7, 573, 7, 1]), pooled(&[572, 7, 3, 3, 1]));
    }

    #[test]
    fn what_is_missing_or_not_supported_is_named() {
        let folder = Folder::new("sd1");
        folder.edit("text_encoder/config.json", |text| text.replace("quick_gelu", "relu"));
        let open =
            |folder: &Folder| PromptEncoder::<Flex>::open(folder.path(), &Default::default()).unwrap_err();
        let LatentError::Setting { key, found, .. } = open(&folder) else { panic!() };
        assert_eq!((key.as_str(), found.as_str()), ("hidden_act", r#""relu""#));

        let (folder, latent) = (Folder::new("sdxl"), Latent::read());
        let mut parameters = latent.parameters("sdxl", WEIGHTS).clone();
        parameters.remove("text_projection.weight");
        write_hashed(&folder.join(WEIGHTS), &parameters, |name| Some(name.to_string()));
        let LatentError::Weights(WeightsError::Tensors { problems, .. }) = open(&folder) else { panic!() };
        assert!(
            matches!(&problems[..], [TensorProblem::Missing { name, .. }] if name == "text_projection.weight")
        );

        // A tokenizer of another model, whose tokens the table has not.
        let folder = Folder::new("sd1");
        folder.edit("text_encoder/config.json", |text| {
            text.replace(r#""vocab_size": 574"#, r#""vocab_size": 500"#)
        });
        let mut parameters = latent.parameters("sd1", "text_encoder/model.safetensors").clone();
        parameters.insert("text_model.embeddings.token_embedding.weight".to_string(), vec![500, 32]);
        write_hashed(&folder.join("text_encoder/model.safetensors"), &parameters, |name| {
            Some(name.to_string())
        });
        let LatentError::Malformed { path, .. } = open(&folder) else { panic!() };
        assert_eq!(path, folder.join("tokenizer"));

        let LatentError::NoPart { part, .. } = open(&Folder::new("dit")) else { panic!() };
        assert!(part.contains("text_encoder"), "{part}");
    }
}
