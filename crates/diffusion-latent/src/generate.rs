//! From a request to a picture, whatever the request has: a text or a class, a picture to begin with, a part to paint anew.

mod prepared;
mod request;

pub use prepared::Prepared;
pub use request::{GenerateError, Observe, Request, Start};

use crate::condition::TextCondition;
use crate::pipeline::{DiffusionTransformer, StableDiffusion};
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::invalid::Invalid;
use diffusion_core::{Labels, Noise};
use prepared::{Begin, Guided};

impl<B: Backend> StableDiffusion<B> {
    /// Encodes what is asked for, once for as many pictures as are [drawn](Prepared::draw).
    ///
    /// # Errors
    /// If a value of the request cannot be used.
    pub fn prepare(&self, request: &Request, device: &B::Device) -> Result<Prepared<'_, B>, Invalid> {
        let model = self.at(request.size[0], request.size[1])?;
        let plan = request.plan(self.schedule())?;
        let begin = Begin::new(request, self.autoencoder(), self.sees_pictures(), device)?;
        let condition = |text: TextCondition| match self.sees_pictures() {
            true => text.painting(begin.mask.clone(), begin.seen.clone()),
            false => text,
        };
        let mut cut = Vec::new();
        let mut encode = |text: &str| {
            let encoded = self.text(&[text]);
            cut.extend(encoded.cut.iter().flatten().cloned());
            TextCondition::from(encoded)
        };
        let prompt = condition(encode(&request.prompt));
        let against = match &request.negative {
            Some(negative) => encode(negative),
            None => self.empty().clone(),
        };
        let told = Guided { model, prompt, against: condition(against), rule: request.rule() };
        Ok(Prepared::new(request, plan, begin, told, self.autoencoder()).with_cut(cut))
    }

    /// Makes the picture that is asked for; `noise` decides which of all that could be. `observe` is told after each step how
    /// far it is, and may stop it. [`prepare`](Self::prepare) is for several.
    ///
    /// # Shapes
    /// - returns `[1, 3, height, width]`, mostly in [−1, 1]
    ///
    /// # Errors
    /// If a value of the request cannot be used, or `observe` stops it.
    pub fn generate(
        &self,
        request: &Request,
        noise: Noise,
        device: &B::Device,
        observe: Observe<'_, B>,
    ) -> Result<Tensor<B, 4>, GenerateError> {
        Ok(self.prepare(request, device)?.draw(noise, observe)?)
    }
}

impl<B: Backend> DiffusionTransformer<B> {
    /// As [`StableDiffusion::prepare`]; prompts are classes by their names or numbers.
    ///
    /// # Errors
    /// As there, and if there is no such class.
    pub fn prepare(&self, request: &Request, device: &B::Device) -> Result<Prepared<'_, B>, Invalid> {
        let model = self.at(request.size[0], request.size[1])?;
        let class =
            |setting: &str, text: &str| self.label(text).map_err(|reason| Invalid::new(setting, reason));
        let prompt = class("prompt", &request.prompt)?;
        let against = match &request.negative {
            Some(negative) => class("negative", negative)?,
            None => self.classes(),
        };
        let plan = request.plan(self.schedule())?;
        let begin = Begin::new(request, self.autoencoder(), false, device)?;
        let [told, against] = [prompt, against].map(|label| Labels(vec![label]));
        let told = Guided { model, prompt: told, against, rule: request.rule() };
        Ok(Prepared::new(request, plan, begin, told, self.autoencoder()).with_class(prompt))
    }

    /// As [`StableDiffusion::generate`]; prompts are classes by their names or numbers.
    ///
    /// # Errors
    /// As there, and if there is no such class.
    pub fn generate(
        &self,
        request: &Request,
        noise: Noise,
        device: &B::Device,
        observe: Observe<'_, B>,
    ) -> Result<Tensor<B, 4>, GenerateError> {
        Ok(self.prepare(request, device)?.draw(noise, observe)?)
    }
}
