//! What the samples of a request are told, checked against the network once.

use crate::config::RunConfig;
use crate::run::SampleRequest;
use diffusion::core::precision::check_factor;
use diffusion::core::{AnyCondition, AnyGuidance, Invalid, Labels, Tokens};

/// The conditions of a request's samples.
pub(crate) struct Asked<'a> {
    /// With their weights; the first one is the request's own.
    conditions: Vec<(f64, Told<'a>)>,
    /// What guidance leads away from, where that is not "no condition".
    against: Option<Told<'a>>,
}

/// One condition for each sample.
enum Told<'a> {
    Nothing,
    Labels(Classes<'a>),
    Texts(Option<&'a Tokens>, [usize; 2]),
}

/// The labels of samples.
struct Classes<'a> {
    /// The number of classes.
    classes: usize,
    /// Those that are asked for, to be repeated; all in turn where there are none.
    asked: Option<&'a [usize]>,
}

impl<'a> Asked<'a> {
    /// What `request` asks of the network of `config`.
    ///
    /// # Errors
    /// If the network is not told what is asked for, or guidance has no place for it.
    pub fn new(request: &'a SampleRequest, config: &RunConfig) -> Result<Self, Invalid> {
        let network = &config.network;
        let own = match (network.text(), network.classes()) {
            (Some(shape), _) => Told::Texts(request.texts.as_ref(), shape),
            (None, Some(classes)) => {
                let asked = request.labels.as_deref().filter(|asked| !asked.is_empty());
                Told::Labels(Classes { classes, asked })
            }
            (None, None) => Told::Nothing,
        };
        let mut conditions = vec![(1.0, own)];
        for (i, composed) in request.composed.iter().enumerate() {
            let place = format!("composed[{i}]");
            check_factor("weight", composed.weight).map_err(|error| error.within(&place))?;
            let told =
                told(config, composed.labels.as_deref(), composed.texts.as_ref(), &format!("{place}."))?;
            let told = told.ok_or_else(|| Invalid::new(place, "has neither labels nor texts"))?;
            conditions.push((composed.weight, told));
        }
        let (labels, texts) = (request.negative_labels.as_deref(), request.negative_texts.as_ref());
        let against = told(config, labels, texts, "negative_")?;
        if against.is_some() {
            let reason = match &request.sampling.guidance {
                AnyGuidance::None => Some("is none, so that what is negative does nothing; give it a scale"),
                AnyGuidance::Autoguidance(_) => Some(
                    "is autoguidance, which leads away from a weaker model, and from nothing that is negative",
                ),
                AnyGuidance::ClassifierFree(_) => None,
            };
            if let Some(reason) = reason {
                return Err(Invalid::new("sampling.guidance", reason));
            }
        }
        Ok(Self { conditions, against })
    }

    /// The conditions of the samples `first`, `first + 1`, … of `count`, and their weights.
    pub fn conditions(&self, first: usize, count: usize) -> Vec<(f64, AnyCondition)> {
        self.conditions.iter().map(|(weight, told)| (*weight, told.condition(first, count))).collect()
    }

    /// What guidance of those samples leads away from, where the request says it.
    pub fn against(&self, first: usize, count: usize) -> Option<AnyCondition> {
        self.against.as_ref().map(|told| told.condition(first, count))
    }

    /// The request's own labels of those samples, if there are labels.
    pub fn labels(&self, first: usize, count: usize) -> Option<Vec<usize>> {
        self.classes().map(|classes| classes.of(first, count))
    }

    /// After how many samples they repeat.
    pub fn period(&self) -> Option<usize> {
        self.classes().map(|Classes { classes, asked }| asked.map_or(*classes, <[usize]>::len))
    }

    fn classes(&self) -> Option<&Classes<'a>> {
        match self.conditions.first() {
            Some((_, Told::Labels(classes))) => Some(classes),
            _ => None,
        }
    }
}

/// One of the two, if there is one; `above` begins the names of both.
fn told<'a>(
    config: &RunConfig,
    labels: Option<&'a [usize]>,
    texts: Option<&'a Tokens>,
    above: &str,
) -> Result<Option<Told<'a>>, Invalid> {
    let network = &config.network;
    let invalid = |name: &str, reason: String| Err(Invalid::new(format!("{above}{name}"), reason));
    if let (Some(_), None) = (texts, network.text()) {
        return invalid("texts", "are given to a network that is told none".to_string());
    }
    if let (Some(_), None) = (labels, network.classes()) {
        return invalid("labels", "are given to a network that has none".to_string());
    }
    if let (Some(texts), Some(shape)) = (texts, network.text()) {
        let [count, found @ ..] = texts.shape();
        if count == 0 || found != shape {
            return invalid("texts", format!("are of shape {:?}, expected some of {shape:?}", texts.shape()));
        }
        return Ok(Some(Told::Texts(Some(texts), shape)));
    }
    if let (Some(labels), Some(classes)) = (labels, network.classes()) {
        return match labels.iter().find(|&&label| label >= classes) {
            Some(label) => invalid("labels", format!("have {label}, expected labels below {classes}")),
            None if labels.is_empty() => invalid("labels", "are none, expected at least one".to_string()),
            None => Ok(Some(Told::Labels(Classes { classes, asked: Some(labels) }))),
        };
    }
    Ok(None)
}

impl Told<'_> {
    /// # Panics
    /// If the texts are of another shape than `[tokens, width]`.
    fn condition(&self, first: usize, count: usize) -> AnyCondition {
        match self {
            Self::Nothing => AnyCondition::None,
            Self::Labels(classes) => Labels(classes.of(first, count)).into(),
            Self::Texts(texts, shape) => in_turn(*texts, *shape, first, count).into(),
        }
    }
}

/// The texts of the samples `first`, `first + 1`, … of `count`: these in turn, or none.
fn in_turn(texts: Option<&Tokens>, [tokens, width]: [usize; 2], first: usize, count: usize) -> Tokens {
    let Some(texts) = texts else { return Tokens::none([count, tokens, width]) };
    let [n, found @ ..] = texts.shape();
    assert_eq!(found, [tokens, width], "tokens and values of the texts");
    let text = |i: usize| &texts.values()[i % n * tokens * width..][..tokens * width];
    Tokens::new((first..first + count).flat_map(text).copied().collect(), [count, tokens, width])
}

impl Classes<'_> {
    /// Those of the samples `first`, `first + 1`, … of `count`.
    fn of(&self, first: usize, count: usize) -> Vec<usize> {
        let label = |i: usize| match self.asked {
            Some(labels) => labels[i % labels.len()],
            None => i % self.classes,
        };
        (first..first + count).map(label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{NetworkConfig, TextDitConfig};
    use crate::run::Composed;
    use diffusion::core::layer::CondEmbedderTextConfig;
    use diffusion::core::network::dit::DitConfig;

    /// Of a network that is told texts of two tokens with one value each.
    fn config() -> RunConfig {
        let mut config = RunConfig::preset("fashion-dit-small").unwrap();
        let text = CondEmbedderTextConfig { tokens: 2, width: 1, dropout: 0.1 };
        config.network = NetworkConfig::TextDit(TextDitConfig { network: DitConfig::default(), text });
        config.sampling.set_cfg_scale(2.0);
        config
    }

    /// A text for each of these values, which both of its tokens have.
    fn texts(values: &[f32]) -> Tokens {
        Tokens::new(values.iter().flat_map(|value| [*value; 2]).collect(), [values.len(), 2, 1])
    }

    #[test]
    fn texts_are_told_in_turn() {
        let config = config();
        let request = SampleRequest {
            texts: Some(texts(&[1.0, 2.0])),
            composed: vec![Composed::of_texts(-0.5, texts(&[3.0, 4.0, 5.0]))],
            negative_texts: Some(texts(&[6.0])),
            ..SampleRequest::of(&config)
        };
        let asked = Asked::new(&request, &config).unwrap();
        let expected = [(1.0, texts(&[2.0, 1.0, 2.0])), (-0.5, texts(&[4.0, 5.0, 3.0]))];
        assert_eq!(asked.conditions(1, 3), expected.map(|(weight, texts)| (weight, texts.into())));
        assert_eq!(asked.against(1, 3), Some(texts(&[6.0; 3]).into()));
        assert_eq!((asked.labels(0, 3), asked.period()), (None, None));

        // Without any, they are told nothing.
        let request = SampleRequest::of(&config);
        let asked = Asked::new(&request, &config).unwrap();
        assert_eq!(asked.conditions(1, 2), [(1.0, Tokens::none([2, 2, 1]).into())]);
        assert_eq!(asked.against(1, 2), None);
    }

    #[test]
    fn texts_of_another_shape_are_refused() {
        let config = config();
        let setting = |request: SampleRequest| Asked::new(&request, &config).err().unwrap().setting;
        let request = || SampleRequest::of(&config);
        for other in [Tokens::none([1, 2, 3]), Tokens::none([0, 2, 1])] {
            let negative = SampleRequest { negative_texts: Some(other.clone()), ..request() };
            assert_eq!(setting(negative), "negative_texts");
            let composed = SampleRequest { composed: vec![Composed::of_texts(1.0, other)], ..request() };
            assert_eq!(setting(composed), "composed[0].texts");
        }
        let labels = SampleRequest { negative_labels: Some(vec![1]), ..request() };
        assert_eq!(setting(labels), "negative_labels");
    }
}
