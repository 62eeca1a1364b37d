//! Which sampler does what a scheduler of diffusers does by its settings.

use super::config::SchedulerConfig;
use super::grid::Curve;
use diffusion_core::sampler::{BVariant, Variant};
use diffusion_core::{AnySampler, Deis, DpmSolver, GradientEstimation, UniPc};

impl SchedulerConfig {
    /// The sampler of the class, or the one that stands for it.
    pub(super) fn sampler(&self, steps: usize) -> AnySampler {
        if self.class().name == MULTISTEP {
            return self.dpm_solver().into();
        }
        let (order, lower_order_final) = (self.solver_order.clamp(1, 3), self.lower_order_final);
        match self.class().sampler {
            // Of one step, theirs is done once.
            AnySampler::Pndm(_) if steps == 1 => GradientEstimation::DDIM.into(),
            AnySampler::UniPc(_) => {
                let variant = if self.solver_type == "bh1" { BVariant::Bh1 } else { BVariant::Bh2 };
                UniPc { order, variant, lower_order_final }.into()
            }
            AnySampler::Deis(_) => Deis { order, lower_order_final }.into(),
            sampler => sampler,
        }
    }

    /// Whether the sampler does something else than the class.
    pub(super) fn is_replaced(&self) -> bool {
        let class = self.class();
        !class.is_same
            || match class.name {
                "PNDMScheduler" => !self.skip_prk_steps,
                "DDPMScheduler" => !self.variance_type.starts_with("fixed_small"),
                MULTISTEP => !self.is_dpm_solver(),
                // These round timesteps of levels that are spaced by themselves.
                "KDPM2DiscreteScheduler" | "KDPM2AncestralDiscreteScheduler" => self.curve() != Curve::Levels,
                "DEISMultistepScheduler" => !self.is_multistep(),
                "UniPCMultistepScheduler" => {
                    !(self.is_multistep() && self.predict_x0 && self.disable_corrector.is_empty())
                }
                _ => false,
            }
    }

    /// What `DPMSolverMultistepScheduler` does by its settings; those of another algorithm are solved as its own is.
    fn dpm_solver(&self) -> DpmSolver {
        DpmSolver {
            order: self.solver_order.clamp(1, 3),
            eta: if self.algorithm_type.starts_with("sde-") { 1.0 } else { 0.0 },
            variant: if self.solver_type == "heun" { Variant::Heun } else { Variant::Midpoint },
            ..DpmSolver::M2
        }
    }

    /// Whether a method of several steps has an order that there is here, along levels whose timesteps are not rounded.
    fn is_multistep(&self) -> bool {
        (1..=3).contains(&self.solver_order) && self.curve() == Curve::Levels
    }

    /// Whether [`DpmSolver`] does the same: of order 3 the class gives the second difference half its weight, and where levels
    /// are spaced by themselves, it rounds their timesteps.
    fn is_dpm_solver(&self) -> bool {
        let is_algorithm = ["dpmsolver++", "sde-dpmsolver++"].contains(&&*self.algorithm_type);
        let is_type = ["midpoint", "heun"].contains(&&*self.solver_type);
        let to_zero = self.final_sigmas_type == "zero";
        let whole = self.curve() == Curve::Levels;
        is_algorithm && is_type && (1..=2).contains(&self.solver_order) && to_zero && whole
    }
}

/// The class whose settings say which method it is.
const MULTISTEP: &str = "DPMSolverMultistepScheduler";
