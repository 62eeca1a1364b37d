//! The normal distribution's quantiles.

/// The value below which a share `u` of the unit normal distribution lies: Wichura 1988, "Algorithm AS 241: The percentage
/// points of the normal distribution", Applied Statistics 37, routine PPND16, good to about 1e-16 relative. −∞ at 0, ∞ at 1.
#[allow(clippy::excessive_precision, reason = "the digits that are published")]
pub(crate) fn normal_quantile(u: f64) -> f64 {
    let q = u - 0.5;
    if q.abs() <= 0.425 {
        let numerator = [
            2.509_080_928_730_122_672_7e3,
            3.343_057_558_358_812_810_5e4,
            6.726_577_092_700_870_085_3e4,
            4.592_195_393_154_987_145_7e4,
            1.373_169_376_550_946_112_5e4,
            1.971_590_950_306_551_442_7e3,
            1.331_416_678_917_843_774_5e2,
            3.387_132_872_796_366_608_0,
        ];
        let denominator = [
            5.226_495_278_852_854_561_0e3,
            2.872_908_573_572_194_267_4e4,
            3.930_789_580_009_271_061_0e4,
            2.121_379_430_158_659_586_7e4,
            5.394_196_021_424_751_107_7e3,
            6.871_870_074_920_579_083_0e2,
            4.231_333_070_160_091_125_2e1,
            1.0,
        ];
        return q * ratio(0.180_625 - q * q, numerator, denominator);
    }
    let r = (-f64::ln(if q < 0.0 { u } else { 1.0 - u })).sqrt();
    if !r.is_finite() {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let size = if r <= 5.0 { tail(r - 1.6) } else { far_tail(r - 5.0) };
    if q < 0.0 { -size } else { size }
}

#[allow(clippy::excessive_precision, reason = "the digits that are published")]
fn tail(r: f64) -> f64 {
    let numerator = [
        7.745_450_142_783_414_076_40e-4,
        2.272_384_498_926_918_458_33e-2,
        2.417_807_251_774_506_117_70e-1,
        1.270_458_252_452_368_382_58,
        3.647_848_324_763_204_605_04,
        5.769_497_221_460_691_405_50,
        4.630_337_846_156_545_295_90,
        1.423_437_110_749_683_577_34,
    ];
    let denominator = [
        1.050_750_071_644_416_843_24e-9,
        5.475_938_084_995_344_946_00e-4,
        1.519_866_656_361_645_719_66e-2,
        1.481_039_764_274_800_745_90e-1,
        6.897_673_349_851_000_045_50e-1,
        1.676_384_830_183_803_849_40,
        2.053_191_626_637_758_821_87,
        1.0,
    ];
    ratio(r, numerator, denominator)
}

#[allow(clippy::excessive_precision, reason = "the digits that are published")]
fn far_tail(r: f64) -> f64 {
    let numerator = [
        2.010_334_399_292_288_132_65e-7,
        2.711_555_568_743_487_578_15e-5,
        1.242_660_947_388_078_438_60e-3,
        2.653_218_952_657_612_309_30e-2,
        2.965_605_718_285_048_912_30e-1,
        1.784_826_539_917_291_335_80,
        5.463_784_911_164_114_369_90,
        6.657_904_643_501_103_777_20,
    ];
    let denominator = [
        2.044_263_103_389_939_785_64e-15,
        1.421_511_758_316_445_888_70e-7,
        1.846_318_317_510_054_681_80e-5,
        7.868_691_311_456_132_591_00e-4,
        1.487_536_129_085_061_485_25e-2,
        1.369_298_809_227_358_053_10e-1,
        5.998_322_065_558_879_376_90e-1,
        1.0,
    ];
    ratio(r, numerator, denominator)
}

/// The ratio of two polynomials, whose coefficients begin with that of the highest power.
fn ratio(x: f64, numerator: [f64; 8], denominator: [f64; 8]) -> f64 {
    let value = |coefficients: [f64; 8]| coefficients.into_iter().fold(0.0, |sum, c| sum * x + c);
    value(numerator) / value(denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the standard tables, and from the middle to both tails.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (u, expected) in [
            (0.5, 0.0),
            (0.75, 0.674_489_750_196_081_7),
            (0.9, 1.281_551_565_544_600_4),
            (0.95, 1.644_853_626_951_472_2),
            (0.975, 1.959_963_984_540_054),
            (0.995, 2.575_829_303_548_900_4),
            (0.25, -0.674_489_750_196_081_7),
            (1e-3, -3.090_232_306_167_813),
            (1e-5, -4.264_890_793_922_825),
            (1e-10, -6.361_340_902_404_056),
            (1e-20, -9.262_340_089_798_408),
            (1e-100, -21.273_453_560_965_324),
        ] {
            let found = normal_quantile(u);
            assert!((found - expected).abs() <= 4e-15 * expected.abs().max(1e-1), "{found} at {u}");
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }
}
