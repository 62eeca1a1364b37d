//! Each rule of the settings, and the path under which it is reported.

use super::*;
use crate::{AdamWConfig, LrDecay};

#[test]
fn settings_are_refused_by_their_paths() {
    let good = || TrainConfig::new(10);
    assert_eq!(good().validate(), Ok(()));
    let adamw = |set: fn(&mut AdamWConfig)| {
        let mut config = good();
        set(&mut config.adamw);
        config
    };
    let ema = |decay, warmup_power| TrainConfig { ema: EmaConfig { decay, warmup_power }, ..good() };
    let decay = |decay| TrainConfig { lr_schedule: LrSchedule { warmup: 0, decay }, ..good() };
    for (config, setting) in [
        (TrainConfig::new(0), "steps"),
        (TrainConfig { lr: 0.0, ..good() }, "lr"),
        (TrainConfig { lr: f64::INFINITY, ..good() }, "lr"),
        (TrainConfig { accumulate: 0, ..good() }, "accumulate"),
        (TrainConfig { accumulate: MAX_SIZE + 1, ..good() }, "accumulate"),
        (TrainConfig { clip_norm: Some(f64::NAN), ..good() }, "clip_norm"),
        (adamw(|adamw| adamw.beta_1 = 1.0), "adamw.beta_1"),
        (adamw(|adamw| adamw.beta_2 = f64::NAN), "adamw.beta_2"),
        (adamw(|adamw| adamw.epsilon = 1e-60), "adamw.epsilon"),
        (adamw(|adamw| adamw.weight_decay = -1.0), "adamw.weight_decay"),
        (ema(1.0, 1.0), "ema.decay"),
        (ema(0.9, f64::NAN), "ema.warmup_power"),
        (decay(LrDecay::Cosine { floor: 1.5 }), "lr_schedule.decay.floor"),
        (decay(LrDecay::InverseSqrt { after: 0 }), "lr_schedule.decay.after"),
    ] {
        assert_eq!(config.validate().unwrap_err().setting, setting, "{config:?}");
    }
}
