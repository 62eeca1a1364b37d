//! What a user asks to see, in words.

use crate::args::SampleArgs;
use crate::error::CliError;
use crate::output::log;
use burn::tensor::backend::Backend;
use diffusion::core::Tokens;
use diffusion::latent::{EncodedText, PromptEncoder};
use diffusion_recipe::RunConfig;
use std::path::PathBuf;

/// Texts, and the folder of the model that encodes them.
pub struct Prompts {
    texts: Vec<String>,
    encoder: PathBuf,
}

/// The texts that are asked for, if there are some.
pub fn prompts(args: &SampleArgs, config: &RunConfig) -> Result<Option<Prompts>, CliError> {
    let more = args.sampling.guidance.negative.is_some() || !args.sampling.guidance.also.is_empty();
    match (config.network.text(), &args.prompt[..]) {
        (None, []) => return Ok(None),
        (None, _) => {
            return Err(CliError::usage(
                "--prompt was given, but this model is told no texts",
                "leave it out",
            ));
        }
        (Some(_), []) if more => {
            log("note: no --prompt was given, so the samples follow no text of their own")
        }
        (Some(_), []) => {
            log("note: no --prompt was given, so the samples follow no text");
            return Ok(None);
        }
        (Some(_), _) => {}
    }
    let folders = [args.text_encoder.as_deref(), args.decoder.as_deref(), config.network.pretrained()];
    let Some(encoder) = folders.into_iter().flatten().next() else {
        return Err(CliError::usage(
            "--prompt was given, but nothing that encodes it",
            "give the folder of the model that encoded the captions, with --text-encoder, or with --decoder for both",
        ));
    };
    Ok(Some(Prompts { texts: args.prompt.clone(), encoder: encoder.to_path_buf() }))
}

impl Prompts {
    /// What is to be seen.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Texts as the network is told them.
    pub fn encode<B: Backend>(
        &self,
        texts: &[String],
        expected: [usize; 2],
        device: &B::Device,
    ) -> Result<Tokens, CliError> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let EncodedText { tokens, cut, .. } = PromptEncoder::<B>::open(&self.encoder, device)?.encode(&texts);
        warn_of_cut(cut.iter().flatten());
        let [_, count, width] = tokens.shape();
        if [count, width] == expected {
            return Ok(tokens);
        }
        let (what, [of, values]) = (self.encoder.display(), expected);
        Err(CliError::usage(
            format!(
                "{what} makes {count} tokens of {width} values of a text, but this model is told {of} of {values}"
            ),
            "give the model that encoded the captions, with --text-encoder",
        ))
    }
}

/// Says what of texts is left out.
pub fn warn_of_cut<'a>(cut: impl IntoIterator<Item = &'a String>) {
    for cut in cut {
        log(format_args!("warning: the text has more tokens than the model takes; left out: {cut:?}"));
    }
}
