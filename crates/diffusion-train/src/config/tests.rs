//! Each rule of the settings, and the path under which it is reported.

use super::*;
use crate::{AdamWConfig, LrDecay, MuonConfig};

#[test]
fn settings_are_refused_by_their_paths() {
    let good = || TrainConfig::new(10);
    assert_eq!(good().validate(), Ok(()));
    let adamw = |set: fn(&mut AdamWConfig)| {
        let mut config = good();
        set(&mut config.adamw);
        config
    };
    let ema = |ema| TrainConfig { ema, ..good() };
    let warmup = |decay, warmup_power| ema(EmaConfig::Warmup { decay, warmup_power });
    let named = |names: &[&str]| {
        let ema = EmaConfig::Constant { decay: 0.9 };
        let emas = names.iter().map(|name| NamedEma { name: name.to_string(), ema }).collect();
        TrainConfig { emas, snapshots: Some(SnapshotConfig::new(5)), ..good() }
    };
    let snapshots = |every, widths: &[f64]| {
        let snapshots = SnapshotConfig { widths: widths.to_vec(), ..SnapshotConfig::new(every) };
        TrainConfig { snapshots: Some(snapshots), ..good() }
    };
    let muon = |set: fn(&mut MuonConfig)| {
        let mut muon = MuonConfig::default();
        set(&mut muon);
        TrainConfig { optimizer: OptimizerConfig::Muon(muon), ..good() }
    };
    for good in [named(&["a", "b"]), snapshots(1, &[0.05, 0.2, 0.1]), muon(|_| ())] {
        assert_eq!(good.validate(), Ok(()));
    }
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
        (warmup(1.0, 1.0), "ema.decay"),
        (warmup(0.9, f64::NAN), "ema.warmup_power"),
        (ema(EmaConfig::Constant { decay: -0.1 }), "ema.decay"),
        (ema(EmaConfig::HalfLife { examples: 0.0, ramp_up: 0.05 }), "ema.examples"),
        (ema(EmaConfig::HalfLife { examples: 1e5, ramp_up: f64::NAN }), "ema.ramp_up"),
        (ema(EmaConfig::Power { width: 0.29 }), "ema.width"),
        (ema(EmaConfig::Power { width: 0.0 }), "ema.width"),
        (named(&["a", "../b"]), "emas.name"),
        (named(&["a", "b", "A"]), "emas.name"),
        // That of a snapshot.
        (named(&["0.05"]), "emas.name"),
        (snapshots(0, &[0.05, 0.1]), "snapshots.every"),
        (snapshots(1, &[0.05]), "snapshots.widths"),
        (snapshots(1, &[0.05, 0.05]), "snapshots.widths"),
        (snapshots(1, &[0.05, 0.5]), "snapshots.widths"),
        (muon(|muon| muon.momentum = 1.0), "optimizer.momentum"),
        (muon(|muon| muon.weight_decay = -1.0), "optimizer.weight_decay"),
        (muon(|muon| muon.lr_factor = 0.0), "optimizer.lr_factor"),
        (muon(|muon| muon.iterations = 0), "optimizer.iterations"),
        (decay(LrDecay::Cosine { floor: 1.5 }), "lr_schedule.decay.floor"),
        (decay(LrDecay::InverseSqrt { after: 0 }), "lr_schedule.decay.after"),
    ] {
        assert_eq!(config.validate().unwrap_err().setting, setting, "{config:?}");
    }
}
