//! The way between two noise levels of a path, in numbers on the host.

use crate::denoiser::Combination;
use crate::path::Path;

/// The way from one noise level of a path down to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// σ, positive.
    pub from: f64,
    /// σ', which may be 0.
    pub to: f64,
    /// α(σ), which may be 0.
    pub data_from: f64,
    /// α(σ').
    pub data_to: f64,
}

impl Way {
    pub fn on(path: &impl Path, from: f64, to: f64) -> Self {
        Self { from, to, data_from: path.alpha(from), data_to: path.alpha(to) }
    }

    /// e^(−h) of the length h = λ' − λ, where λ = ln(α/σ): 0 from pure noise and to data, 1 for no way at all.
    pub fn ratio(&self) -> f64 {
        (self.to * self.data_from) / (self.from * self.data_to)
    }

    /// h itself; infinite from pure noise and to data.
    pub fn length(&self) -> f64 {
        -self.ratio().ln()
    }

    /// The step for an estimate of the data that stays: it keeps so much of the noise that its level is `noise`, and the
    /// data have the weight α'. At `noise` = σ' it is DDIM.
    pub fn keeping(&self, noise: f64) -> Combination {
        let kept = noise / self.from;
        Combination { x: kept, denoised: self.data_to - self.data_from * kept, ..Combination::default() }
    }

    /// How much noise an ancestral step keeps, and how much it adds: up = η·σ'·√(1 − e^(−2h)), at most σ', and down =
    /// √(σ'² − up²) (DDIM's η; Song et al. 2021, arXiv:2010.02502, eq. 16).
    pub fn ancestral(&self, eta: f64) -> (f64, f64) {
        let ratio = self.ratio();
        let part = (eta * ((1.0 - ratio) * (1.0 + ratio)).max(0.0).sqrt()).min(1.0);
        (self.to * ((1.0 - part) * (1.0 + part)).sqrt(), self.to * part)
    }

    /// The level halfway in λ between σ and the one at which the data's weight α' has the noise `noise`. From pure noise,
    /// which has no λ, it is halfway in α/σ.
    pub fn middle(&self, path: &impl Path, noise: f64) -> f64 {
        let end = noise / self.data_to;
        let ratio = match self.data_from {
            0.0 => 2.0 * end,
            data => (self.from / data * end).sqrt(),
        };
        level(path, ratio, self.from)
    }
}

/// (α/σ)² at a noise level.
pub(super) fn snr(path: &impl Path, sigma: f64) -> f64 {
    (path.alpha(sigma) / sigma).powi(2)
}

/// The noise level below `above` at which σ/α is `ratio`, which grows with σ.
pub(super) fn level(path: &impl Path, ratio: f64, above: f64) -> f64 {
    // Where α is 1, it is the ratio itself.
    if path.alpha(ratio.min(above)) == 1.0 {
        return ratio.min(above);
    }
    let (mut low, mut high) = (0.0, above);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        if middle > ratio * path.alpha(middle) { high = middle } else { low = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Straight, VarianceExploding};

    #[test]
    fn levels_have_their_ratio() {
        for ratio in [1e-12, 0.3, 1.0, 19.0, 1e6] {
            let found = level(&Straight, ratio, 1.0);
            assert!((found / (ratio / (1.0 + ratio)) - 1.0).abs() < 1e-15, "{ratio}: {found}");
            assert_eq!(level(&VarianceExploding, ratio, 1e9), ratio);
        }
    }

    /// The variance of the noise is σ'² whatever is added, and an ancestral step of η = 1 keeps α·σ'²/(α'·σ).
    #[test]
    fn ancestral_steps_end_at_their_level() {
        for way in [
            Way::on(&VarianceExploding, 80.0, 3.0),
            Way::on(&Straight, 0.7, 0.6999),
            Way::on(&Straight, 1.0, 0.4),
            Way::on(&Straight, 0.4, 0.0),
        ] {
            for eta in [0.0, 0.4, 1.0, 1.7] {
                let (down, up) = way.ancestral(eta);
                assert!((down.hypot(up) - way.to).abs() < 1e-15, "{way:?}, {eta}");
            }
            let down = way.data_from * way.to * way.to / (way.data_to * way.from);
            assert!((way.ancestral(1.0).0 - down).abs() < 1e-9, "{way:?}");
            assert_eq!(way.ancestral(0.0), (way.to, 0.0));
        }
    }
}
