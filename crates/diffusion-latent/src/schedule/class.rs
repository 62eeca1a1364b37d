//! What distinguishes diffusers' classes of schedulers: their defaults, where their grids end, and which sampler they are.

use diffusion_core::sampler::BVariant;
use diffusion_core::{
    AnySampler, Deis, Dpm2Ancestral, DpmSolver, DpmppSde, GradientEstimation, Heun, Lms, Pndm, UniPc,
};

/// One of diffusers' classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Class {
    /// Its name; empty for one whose defaults are not known.
    pub name: &'static str,
    pub beta_start: f64,
    pub beta_end: f64,
    pub beta_schedule: &'static str,
    pub timestep_spacing: &'static str,
    pub clip_sample: bool,
    pub set_alpha_to_one: bool,
    /// Which setting says where its grids end.
    pub end: EndBy,
    /// In which units it holds a state.
    pub state: State,
    pub timesteps: Timesteps,
    pub sampler: AnySampler,
    /// Whether the sampler computes what the class does.
    pub is_same: bool,
}

/// Which setting says where a class' grids end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndBy {
    /// `set_alpha_to_one`
    SetAlphaToOne,
    /// `final_sigmas_type`
    FinalSigmasType,
    /// None; they end at 0.
    Zero,
    /// None; they end at the smallest level.
    Lowest,
}

/// In which units a class holds the state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// x/√(1+σ²), which begins as unit noise.
    Preserving,
    /// x.
    Exploding,
}

/// How a class rounds and counts timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timesteps {
    /// Rounded.
    Whole,
    /// As they come.
    Broken,
    /// Rounded; of one step more, the last of which is left out.
    OneMore,
}

const DDIM: Class = Class {
    name: "DDIMScheduler",
    beta_start: 0.0001,
    beta_end: 0.02,
    beta_schedule: "linear",
    timestep_spacing: "leading",
    clip_sample: true,
    set_alpha_to_one: true,
    end: EndBy::SetAlphaToOne,
    state: State::Preserving,
    timesteps: Timesteps::Whole,
    sampler: AnySampler::GradientEstimation(GradientEstimation::DDIM),
    is_same: true,
};

const EULER: Class = Class {
    name: "EulerDiscreteScheduler",
    timestep_spacing: "linspace",
    clip_sample: false,
    end: EndBy::FinalSigmasType,
    state: State::Exploding,
    timesteps: Timesteps::Broken,
    ..DDIM
};

const ANCESTRAL: Class = Class {
    name: "EulerAncestralDiscreteScheduler",
    end: EndBy::Zero,
    sampler: AnySampler::GradientEstimation(GradientEstimation::DDPM),
    ..EULER
};

/// Of several steps, in λ.
const MULTISTEP: Class = Class {
    name: "UniPCMultistepScheduler",
    end: EndBy::FinalSigmasType,
    state: State::Preserving,
    timesteps: Timesteps::OneMore,
    sampler: AnySampler::UniPc(UniPc { order: 2, variant: BVariant::Bh2, lower_order_final: true }),
    ..EULER
};

const DPM_SOLVER: Class =
    Class { name: "DPMSolverMultistepScheduler", sampler: AnySampler::DpmSolver(DpmSolver::M2), ..MULTISTEP };

const LCM: Class = Class {
    name: "LCMScheduler",
    beta_start: 0.00085,
    beta_end: 0.012,
    beta_schedule: "scaled_linear",
    clip_sample: false,
    is_same: false,
    ..DDIM
};

const HEUN: Class = Class {
    name: "HeunDiscreteScheduler",
    beta_start: 0.00085,
    beta_end: 0.012,
    sampler: AnySampler::Heun(Heun { s_churn: 0.0, s_min: 0.0, s_max: f64::INFINITY, s_noise: 1.0 }),
    ..ANCESTRAL
};

/// The classes whose defaults are known.
const CLASSES: [Class; 16] = [
    DDIM,
    Class {
        name: "DDPMScheduler",
        end: EndBy::Zero,
        sampler: AnySampler::GradientEstimation(GradientEstimation::DDPM),
        ..DDIM
    },
    Class {
        name: "PNDMScheduler",
        clip_sample: false,
        set_alpha_to_one: false,
        sampler: AnySampler::Pndm(Pndm {}),
        ..DDIM
    },
    LCM,
    Class { name: "TCDScheduler", ..LCM },
    EULER,
    ANCESTRAL,
    HEUN,
    Class { name: "KDPM2DiscreteScheduler", sampler: AnySampler::Dpm2Ancestral(Dpm2Ancestral::DPM2), ..HEUN },
    Class {
        name: "KDPM2AncestralDiscreteScheduler",
        sampler: AnySampler::Dpm2Ancestral(Dpm2Ancestral { eta: 1.0, s_noise: 1.0 }),
        ..HEUN
    },
    Class { name: "LMSDiscreteScheduler", sampler: AnySampler::Lms(Lms { order: 4 }), ..ANCESTRAL },
    DPM_SOLVER,
    // A method of as many steps stands for it: it takes two or three levels for a step.
    Class { name: "DPMSolverSinglestepScheduler", is_same: false, ..DPM_SOLVER },
    Class {
        name: "DEISMultistepScheduler",
        end: EndBy::Lowest,
        sampler: AnySampler::Deis(Deis { order: 2, lower_order_final: true }),
        ..MULTISTEP
    },
    MULTISTEP,
    Class {
        name: "DPMSolverSDEScheduler",
        sampler: AnySampler::DpmppSde(DpmppSde { eta: 1.0, s_noise: 1.0 }),
        ..HEUN
    },
];

/// Another class, which must state its levels.
const OTHER: Class =
    Class { name: "", is_same: false, clip_sample: false, end: EndBy::FinalSigmasType, ..DDIM };

impl Class {
    /// The class of this name, or what stands for one that is not known.
    pub fn of(name: &str) -> &'static Self {
        CLASSES.iter().find(|class| class.name == name).unwrap_or(&OTHER)
    }

    /// Whether its defaults are known.
    pub fn is_known(&self) -> bool {
        !self.name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samplers_of_all_classes_have_names() {
        for class in CLASSES.iter().chain([&OTHER]) {
            let is_it = |name: &&str| AnySampler::from_name(name) == Some(class.sampler);
            assert!(AnySampler::NAMES.iter().any(is_it), "{}", class.name);
        }
    }
}
