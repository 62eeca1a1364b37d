//! Everything that touches a tensor: equality with smalldiffusion's numbers, and laws, on every enabled backend.
//!
//! One binary, because each one links the whole of Burn.

#![allow(clippy::unwrap_used)]

mod support {
    pub mod fixture;
    pub mod folders;
    pub mod formula;
    pub mod gaussian;
    pub mod hashed;
    pub mod parameters;
    pub mod spec;
    pub mod weights;
}

/// Equality with smalldiffusion 0.5.0, by the numbers that `fixtures/make.py` draws from it.
mod reference {
    mod adamw;
    mod diffusers;
    mod dit;
    mod hashes;
    mod ideal;
    mod layers;
    mod mlp;
    mod modifiers;
    mod schedules;
    mod swissroll;
    mod trajectories;
}

/// Equality with diffusers 0.32.1 and transformers 4.48.3, by the numbers that `fixtures/latent.py` draws from them.
mod latent {
    mod autoencoder;
    mod dit;
    mod fine_tuning;
    mod inpaint;
    mod lora;
    mod original;
    mod pipeline;
    #[cfg(feature = "flex")]
    mod refusals;
    mod runs;
    mod schedule;
    mod text;
    mod tokens;
    mod unet;
}

/// What must hold whatever smalldiffusion does.
mod laws {
    mod activations;
    mod any;
    mod beside_others;
    mod checkpoints;
    mod ema;
    mod format;
    mod guidance;
    mod health;
    mod ideal;
    mod levels;
    mod objective;
    mod objective_in_training;
    mod resume;
    mod samplers;
    mod seeds;
    mod text;
    mod trace;
    mod training;
    mod unet;
    mod validation;
}
