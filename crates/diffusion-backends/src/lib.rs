//! Where to compute: a backend chosen at run time by its name, among those that the program was built with.
//!
//! Everything else in the workspace is generic over the backend. A program names one with [`BackendName`] and hands
//! [`run_on`] a [`Job`]; each feature of this crate but `clap` and `autotune` is a backend:
//! ```
//! use burn::tensor::{Tensor, backend::Backend};
//! use diffusion_backends::{BackendName, Job, run_on};
//!
//! struct Three;
//!
//! impl Job for Three {
//!     type Output = f32;
//!
//!     fn run<B: Backend>(self, device: &B::Device) -> f32 {
//!         (Tensor::<B, 1>::ones([1], device) + 2.0).into_scalar().elem()
//!     }
//! }
//! # use burn::tensor::ElementConversion;
//!
//! let name: BackendName = "flex".parse().unwrap();
//! match run_on(name, Three) {
//!     Ok(three) => assert_eq!(three, 3.0),
//!     Err(error) => println!("{error}; {}", error.hint()),
//! }
//! ```
//! `table.rs` has a row for each backend; what differs between them is stamped from it.

mod built;
mod device;
mod error;
mod gpu;
mod name;
mod run;

pub use built::Tolerance;
pub use error::BackendError;
pub use name::{BackendName, UnknownBackend};
pub use run::{Job, absence, describe, run_on};
