//! Everything that touches a tensor: equality with smalldiffusion's numbers, and laws, on every enabled backend.
//!
//! One binary, because each one links the whole of Burn.

#![allow(clippy::unwrap_used)]

mod support {
    pub mod classes;
    pub mod fixture;
    pub mod folders;
    pub mod formula;
    pub mod gaussian;
    pub mod hashed;
    pub mod mixture;
    pub mod one_file;
    pub mod parameters;
    pub mod spec;
    pub mod weights;
}

/// Equality with smalldiffusion 0.5.0, by the numbers that `fixtures/make.py` draws from it.
mod reference {
    mod adamw;
    mod classifier;
    mod diffusers;
    mod dit;
    mod hashes;
    mod ideal;
    mod layers;
    mod mlp;
    mod modifiers;
    mod muon;
    mod samplers_ode;
    /// Beside k-diffusion 0.1.1 and diffusers 0.32.1, by `fixtures/samplers_sde.py`.
    mod samplers_sde;
    mod schedules;
    mod swissroll;
    mod trajectories;
}

/// Equality with diffusers 0.32.1 and transformers 4.48.3, by the numbers that `fixtures/latent.py` draws from them.
///
/// What is easily got wrong, and which test sees it; each was seen to fail where the rule is broken:
///
/// - heads: `attention_head_dim` of a U-Net is the number of heads, that of a DiT the values per head:
///   `unet::stable_diffusion_1`, `unet::stable_diffusion_2`, `dit::a_single_pass`
/// - ε of norms: U-Net 1e-5, but 1e-6 before its transformers; autoencoder 1e-6; DiT 1e-6, but 1e-5 before the MLP:
///   `unet::every_norm_has_its_epsilon`, `autoencoder::every_norm_has_its_epsilon`, `dit::every_norm_has_its_epsilon`
/// - halving of images: a U-Net pads all sides, an encoder the bottom and the right: `unet::stable_diffusion_1`,
///   `autoencoder::images_become_latents`
/// - biases of queries, keys and values: none in U-Nets; in autoencoders, CLIP and DiT: `unet::stable_diffusion_1`,
///   `autoencoder::latents_become_images`, `text::the_states_of_tokens`, `dit::a_single_pass`
/// - activations: GEGLU has values before gates and the exact GELU; CLIP-L the quick one, OpenCLIP the exact one;
///   DiT that by tanh: `unet::stable_diffusion_1`, `text::the_states_of_tokens`, `text::activations_of_clip`,
///   `dit::a_single_pass`
/// - guidance: diffusers' is one more than the scale here, which smalldiffusion has, too:
///   `pipeline::a_text_becomes_a_picture`, `runs::runs_of_noise_prediction`,
///   `runs::smalldiffusions_wrapper_loses_timesteps`
/// - start, end and last factor of a run: three of each, by the scheduler's class:
///   `runs::runs_of_noise_prediction`, `runs::runs_of_v_prediction`, `runs::smalldiffusions_wrapper_loses_timesteps`,
///   `schedule::every_class_has_its_own_defaults`, `pipeline::prompts_become_diffusers_pictures`
/// - what a scheduler's file leaves out: is the default of its class; the kind of prediction is the file's; a text
///   model's offset is 1: `schedule::every_class_has_its_own_defaults`,
///   `schedule::predictions_are_those_of_the_file`, `schedule::text_models_have_the_changes_of_their_pipeline`,
///   `runs::runs_of_v_prediction`
/// - tokens: which token fills up; `!` where that is it; lower case by character; special tokens inside of prompts,
///   in capitals as well: `tokens::prompts_have_the_ids_of_transformers`,
///   `tokens::thousands_of_texts_have_the_ids_of_transformers`
/// - files: a tokenizer in one file; half precision, parts and pickles; old names of attention; tensors that are no
///   weights; sizes of 2022: `tokens::prompts_have_the_ids_of_transformers`,
///   `published::of_several_files_of_weights_one_is_taken`, `published::weights_of_half_precision_become_f32`,
///   `published::sizes_of_2022_are_doubled`, `autoencoder::a_part_opens_alone_and_under_old_names`,
///   `text::names_without_a_prefix_and_tensors_of_others`
/// - SDXL: the last states but one of both encoders, without the final norm; pooled by the second; zeros for no
///   prompt, and for no other; height before width: `text::prompts_of_two_encoders`,
///   `pipeline::sdxl_runs_as_in_diffusers`, `pipeline::sdxl_is_told_the_size_of_a_picture`,
///   `pipeline::an_empty_negative_prompt_is_a_text`, `unet::sdxl`
/// - the end of a text: number 2 in old settings means the largest id: `text::a_text_ends_at_its_first_end`,
///   `text::prompts_of_two_encoders`
/// - scale of latents: is the autoencoder's own; a shift is subtracted before, and added behind by data and
///   smalldiffusion: `autoencoder::latents_have_the_models_own_scale`, `pipeline::encoded_latents_say_their_scale`
/// - mirrored images: are encoded themselves: `pipeline::the_mirrored_image_is_encoded`
/// - parts: decoding in tiles is another function and has to be asked for; attention of some queries at a time is
///   the same one (a unit test of diffusion-core's attention): `autoencoder::in_tiles`,
///   `pipeline::tiles_have_to_be_asked_for`
/// - sizes: multiples of the autoencoder's factor; on its way up a U-Net has those of its way down, odd ones, too:
///   `pipeline::what_cannot_be_is_an_error`, `unet::stable_diffusion_1`,
///   `inpaint::masks_are_made_smaller_by_the_nearest_pixel`
/// - half precision: CLIP's mask stays a mask; weights are f32 whatever the file has. No test runs SDXL's decoder
///   in 16 bits, where it overflows: `text::nothing_ahead_is_seen_in_half_precision`,
///   `published::weights_of_half_precision_become_f32`
/// - inpainting: what is known has the first noise, at the level that was reached, and in the end none; of nine
///   channels only the noisy ones are scaled, and nothing is put back:
///   `inpaint::what_is_known_has_the_first_noise_and_stays`, `runs::a_part_is_painted_anew`,
///   `runs::a_network_of_nine_channels_sees_the_rest`, `pipeline::a_part_is_painted_anew`,
///   `pipeline::a_network_that_sees_pictures_is_told_them`
/// - bytes of pictures: are rounded to even, as diffusers does (a unit test of diffusion-data's pixels)
/// - steps that do not divide the levels: trailing timesteps are rounded each, and followed:
///   `schedule::timesteps_are_those_of_diffusers`
/// - noise on the way: as DDPM and Euler's ancestral method of diffusers have it:
///   `runs::runs_with_noise_on_the_way`
/// - LoRA: a base that is not tracked changes no gradient of the pairs: `lora::a_frozen_base_changes_no_gradient`,
///   `lora::gradients_are_the_slopes_of_the_loss`
mod latent {
    mod autoencoder;
    mod dit;
    mod fine_tuning;
    mod inpaint;
    mod lora;
    mod one_file;
    mod original;
    mod pipeline;
    #[cfg(feature = "flex")]
    mod published;
    #[cfg(feature = "flex")]
    mod refusals;
    mod runs;
    mod schedule;
    mod text;
    mod tokens;
    mod unet;
}

/// Features of images, as other programs compute them.
mod features {
    mod dino;
    #[cfg(feature = "flex")]
    mod inception;
}

/// What must hold whatever smalldiffusion does.
mod laws {
    mod activations;
    mod any;
    mod averages;
    mod beside_others;
    mod checkpoints;
    mod ema;
    mod few_steps;
    mod format;
    mod guidance;
    mod guidance_stack;
    mod health;
    mod ideal;
    mod levels;
    mod list;
    mod matrix;
    mod mean_flow;
    mod muon;
    mod objective;
    mod objective_in_training;
    mod objective_parts;
    mod resume;
    mod samplers;
    mod samplers_sde;
    mod seeds;
    mod self_condition;
    mod tasks;
    mod text;
    mod trace;
    mod training;
    mod unet;
    mod validation;
}
