//! Everything that touches a tensor: equality with smalldiffusion's numbers, and laws, on every enabled backend.
//!
//! One binary, because each one links the whole of Burn.

#![allow(clippy::unwrap_used)]

mod support {
    pub mod fixture;
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
    mod trace;
    mod training;
    mod unet;
    mod validation;
}
