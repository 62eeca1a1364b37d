//! Everything that touches a tensor: equality with the reference's numbers, and laws, on every enabled backend.
//!
//! One binary, because each one links the whole of Burn.

#![allow(clippy::unwrap_used)]

mod support {
    pub mod fixture;
    pub mod gaussian;
    pub mod hashed;
    pub mod parameters;
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

/// What must hold whatever the reference does.
mod laws {
    mod activations;
    mod checkpoints;
    mod ema;
    mod exam;
    mod guidance;
    mod health;
    mod ideal;
    mod resume;
    mod samplers;
    mod seeds;
    mod trace;
    mod training;
    mod unet;
}
