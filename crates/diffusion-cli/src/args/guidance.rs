//! What can be given to guidance.

use clap::builder::NonEmptyStringValueParser;
use diffusion::core::guidance::{AnyModifier, Apg, CfgPlusPlus, Interval, Rescale};

/// What changes a guidance.
#[derive(Debug, clap::Args)]
pub struct ModifierArgs {
    /// Guide only in steps that begin at noise levels above LOW and up to HIGH.
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
    pub guidance_interval: Option<Vec<f64>>,
    /// Bring the contrast of the guided estimate back towards that of the one without guidance, from 0, not at all, to 1.
    #[arg(long, value_name = "PHI")]
    pub guidance_rescale: Option<f64>,
    /// Guide without the part along the estimate itself but for this share of it (APG), e.g. 0: pictures are less saturated.
    #[arg(long, value_name = "ETA")]
    pub apg: Option<f64>,
    /// Guide by CFG++: the strength is from 0 to 1 then.
    #[arg(long)]
    pub cfg_plus_plus: bool,
}

impl ModifierArgs {
    /// `known` with those that are given; one of a kind that is there already takes its place.
    pub fn changed(&self, known: &[AnyModifier]) -> Vec<AnyModifier> {
        let interval = self.guidance_interval.as_deref().and_then(|ends| match *ends {
            [low, high] => Some(Interval { low, high }.into()),
            _ => None,
        });
        let given = [
            interval,
            self.cfg_plus_plus.then(|| CfgPlusPlus {}.into()),
            self.apg.map(|eta| Apg { eta, ..Apg::default() }.into()),
            self.guidance_rescale.map(|phi| Rescale { phi }.into()),
        ];
        let given: Vec<AnyModifier> = given.into_iter().flatten().collect();
        let mut all = known.to_vec();
        all.retain(|modifier| given.iter().all(|new| new.name() != modifier.name()));
        all.extend(given);
        all
    }

    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.changed(&[]).is_empty()
    }
}

/// What samples are led away from, and towards besides.
#[derive(Debug, clap::Args)]
pub struct GuidanceArgs {
    #[command(flatten)]
    pub modifiers: ModifierArgs,
    /// What is not to be seen: classes as of --labels, or a text where the run is told texts; guidance leads away from it.
    #[arg(long, value_name = "LABELS|TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub negative: Option<String>,
    /// A further class or text that all samples follow, with a weight, which is 1 for the others; repeat it for several.
    #[arg(long, value_name = "LABEL|TEXT[:WEIGHT]", value_parser = NonEmptyStringValueParser::new())]
    pub also: Vec<String>,
    /// Guide away from a weaker model (autoguidance): the step of an earlier checkpoint of this run, or the folder of another
    /// run.
    #[arg(long, value_name = "STEP|RUN", value_parser = NonEmptyStringValueParser::new(), conflicts_with = "negative")]
    pub weaker: Option<String>,
}

/// A text and its weight, 1 where none is behind it.
pub fn with_weight(text: &str) -> (&str, f64) {
    let weighted = text.rsplit_once(':').and_then(|(text, weight)| Some((text, weight.parse().ok()?)));
    weighted.unwrap_or((text, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stands_behind_a_colon() {
        assert_eq!(with_weight("shoe:0.5"), ("shoe", 0.5));
        assert_eq!(with_weight("shoe:-1"), ("shoe", -1.0));
        assert_eq!(with_weight("a fox: red"), ("a fox: red", 1.0));
        assert_eq!(with_weight("shoe"), ("shoe", 1.0));
    }

    #[test]
    fn a_modifier_takes_the_place_of_its_kind() {
        let args = |rescale, plus| ModifierArgs {
            guidance_interval: Some(vec![0.1, 2.0]),
            guidance_rescale: rescale,
            apg: None,
            cfg_plus_plus: plus,
        };
        let known = [Interval { low: 0.0, high: 9.0 }.into(), Apg::default().into()];
        let names = |modifiers: Vec<AnyModifier>| modifiers.iter().map(AnyModifier::name).collect::<Vec<_>>();
        assert_eq!(
            names(args(Some(0.7), true).changed(&known)),
            ["apg", "interval", "cfg-plus-plus", "rescale"]
        );
        assert_eq!(args(None, false).changed(&known)[1], Interval { low: 0.1, high: 2.0 }.into());
    }
}
