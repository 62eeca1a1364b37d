//! Every fused operation against the same composed of Burn's own operations: results, and gradients of every input.

#![allow(clippy::unwrap_used)]

mod burns;
mod case;
mod cases;
mod dropout;
mod properties;
mod run;
mod updates;
