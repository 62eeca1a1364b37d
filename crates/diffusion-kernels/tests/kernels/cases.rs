//! The cases of every operation.

use diffusion_kernels::Activation::{Gelu, GeluTanh, QuickGelu, Silu};

use crate::case::Case::{
    self, Activate, Attend, Attention, Conv, Gated, Geglu, GroupNorm, Join, LayerNorm, Linear, Shift,
    Transpose, Upsample,
};

pub fn activations() -> Vec<Case> {
    // Few, the most that one thread does, one more than those, and several chunks of which none is short.
    let shapes = [[3, 7], [256, 128], [32_769, 1], [3, 1 << 14]];
    let of = |which| shapes.map(|shape| Activate(which, shape));
    [Gelu, GeluTanh, QuickGelu, Silu].map(of).concat()
}

pub const LINEAR: &[Case] = &[
    Linear { x: &[5, 3], outputs: 4, bias: true },
    Linear { x: &[1, 1], outputs: 1, bias: true },
    Linear { x: &[2, 3, 17], outputs: 9, bias: true },
    Linear { x: &[2, 3, 17], outputs: 9, bias: false },
    // As many rows as one thread sums, and more.
    Linear { x: &[256, 3], outputs: 19, bias: true },
    Linear { x: &[257, 3], outputs: 19, bias: true },
    Linear { x: &[3, 250, 2], outputs: 5, bias: true },
    // More rows than one thread multiplies: 256, and 419.
    Linear { x: &[600, 130], outputs: 131, bias: true },
    Linear { x: &[2, 300, 130], outputs: 131, bias: false },
    Linear { x: &[1000, 100], outputs: 100, bias: true },
];

pub const LAYER_NORM: &[Case] = &[
    LayerNorm([2, 5, 24]),
    LayerNorm([3, 1, 37]),
    LayerNorm([1, 9, 130]),
    LayerNorm([2, 3, 16]),
    LayerNorm([4, 2, 3]),
];

pub const GATED: &[Case] = &[Gated([2, 5, 24]), Gated([3, 1, 37]), Gated([1, 7, 1]), Gated([4, 3, 16])];

pub const ATTENTION: &[Case] = &[
    Attention { batch: 2, tokens: 7, heads: 1, size: 5 },
    Attention { batch: 2, tokens: 1, heads: 3, size: 4 },
    Attention { batch: 3, tokens: 16, heads: 2, size: 8 },
    Attention { batch: 1, tokens: 65, heads: 3, size: 16 },
];

const fn attend(batch: usize, tokens: [usize; 2], heads: usize, size: usize, causal: bool) -> Case {
    Attend { batch, tokens, heads, size, causal }
}

pub const ATTEND: &[Case] = &[
    attend(2, [7, 5], 1, 5, false),
    attend(2, [5, 7], 3, 4, true),
    attend(1, [9, 4], 2, 3, true),
    attend(3, [1, 2], 2, 8, false),
    // Several tiles of keys, of which the last is short; several tasks; and both of a gradient.
    attend(1, [40, 300], 3, 16, false),
    attend(2, [270, 77], 2, 8, false),
    attend(1, [300, 290], 2, 8, true),
    attend(1, [520, 513], 1, 40, false),
];

pub const GEGLU: &[Case] = &[Geglu([2, 5, 24]), Geglu([1, 1, 2]), Geglu([3, 400, 74])];

pub const GROUP_NORM: &[Case] = &[
    GroupNorm { x: [2, 6, 3, 5], groups: 2, silu: false },
    GroupNorm { x: [2, 6, 3, 5], groups: 2, silu: true },
    GroupNorm { x: [3, 6, 4, 4], groups: 6, silu: true },
    GroupNorm { x: [1, 6, 7, 5], groups: 1, silu: false },
    GroupNorm { x: [2, 10, 1, 1], groups: 2, silu: true },
    GroupNorm { x: [1, 64, 9, 8], groups: 32, silu: true },
];

pub const fn conv(
    x: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
) -> Case {
    Conv { x, outputs, kernel, stride, padding }
}

pub const CONV: &[Case] = &[
    conv([2, 5, 4, 7], 3, [1, 1], [1, 1], [0; 4]),
    conv([2, 3, 6, 5], 4, [3, 3], [1, 1], [1; 4]),
    conv([1, 1, 3, 3], 1, [3, 3], [1, 1], [0; 4]),
    // Patches, and the U-Net's way down.
    conv([3, 4, 6, 8], 5, [2, 2], [2, 2], [0; 4]),
    conv([2, 3, 6, 8], 4, [3, 3], [2, 2], [0, 0, 1, 1]),
    // Rectangles.
    conv([2, 3, 5, 9], 4, [1, 3], [1, 1], [0, 2, 0, 1]),
    conv([2, 3, 9, 5], 4, [3, 2], [1, 1], [2, 1, 0, 0]),
    conv([2, 3, 8, 9], 4, [3, 2], [2, 1], [1, 0, 0, 1]),
    conv([2, 2, 7, 11], 3, [2, 3], [1, 3], [0, 1, 1, 2]),
    // Pixels that no kernel covers.
    conv([2, 3, 7, 6], 4, [1, 1], [2, 3], [0; 4]),
    conv([2, 3, 8, 7], 4, [2, 2], [3, 3], [0; 4]),
    // Borders as wide as the kernel.
    conv([2, 3, 4, 5], 4, [1, 1], [1, 1], [1, 0, 2, 1]),
    conv([2, 3, 4, 5], 4, [2, 3], [1, 1], [2, 1, 0, 3]),
    // Sums over pairs of images, of which the last is one, and over threes.
    conv([17, 2, 5, 4], 3, [3, 3], [1, 1], [1; 4]),
    conv([17, 2, 6, 4], 3, [2, 2], [2, 2], [0; 4]),
    conv([35, 2, 3, 4], 3, [1, 1], [1, 1], [0; 4]),
    // Images in several parts: 40 rows and 20, 17, 17 and 16, 17 and 8.
    conv([1, 40, 60, 80], 3, [1, 1], [1, 1], [0; 4]),
    conv([2, 16, 50, 50], 17, [3, 3], [1, 1], [1; 4]),
    conv([2, 32, 50, 52], 3, [3, 3], [2, 2], [0, 0, 1, 1]),
    // Channels enough for tiles: images of even and odd sides, of one pixel, with a wide border and with an uneven one.
    conv([2, 16, 8, 10], 17, [3, 3], [1, 1], [1; 4]),
    conv([3, 17, 7, 7], 16, [3, 3], [1, 1], [1; 4]),
    conv([2, 16, 3, 3], 16, [3, 3], [1, 1], [0; 4]),
    conv([2, 16, 4, 5], 18, [3, 3], [1, 1], [3, 1, 0, 4]),
    conv([2, 16, 6, 9], 16, [3, 3], [1, 1], [0, 2, 1, 0]),
    // Products of several images, of which the last has fewer, and sums over several products of one.
    conv([5, 17, 4, 6], 16, [3, 3], [1, 1], [1; 4]),
    conv([35, 16, 15, 13], 18, [3, 3], [1, 1], [1; 4]),
    conv([17, 16, 28, 26], 16, [3, 3], [1, 1], [1; 4]),
    // Bands of rows over several images, of odd sides; with products of 64 input channels and of fewer, and more output
    // channels than one task has; with few output channels.
    conv([3, 600, 21, 19], 70, [3, 3], [1, 1], [1; 4]),
    conv([2, 64, 61, 90], 16, [3, 3], [1, 1], [1; 4]),
    conv([1, 130, 66, 64], 40, [3, 3], [1, 1], [1, 0, 2, 1]),
    conv([1, 70, 40, 5], 3, [3, 3], [1, 1], [1; 4]),
    // As many channels, and no tiles.
    conv([2, 16, 6, 8], 16, [3, 3], [2, 2], [0, 0, 1, 1]),
];

/// Computed in tiles, over which a NaN spreads.
pub const IN_TILES: Case = conv([1, 16, 4, 4], 16, [3, 3], [1, 1], [1; 4]);

pub const SHIFT: &[Case] = &[Shift([2, 3, 4, 5]), Shift([1, 1, 1, 1]), Shift([3, 2, 7, 6])];

pub const JOIN: &[Case] = &[
    Join { x: [2, 3, 4, 5], second: 2 },
    Join { x: [1, 1, 1, 1], second: 1 },
    Join { x: [3, 2, 3, 2], second: 5 },
];

pub const TRANSPOSE: &[Case] =
    &[Transpose([2, 3, 5]), Transpose([1, 1, 7]), Transpose([3, 17, 16]), Transpose([2, 40, 33])];

pub const UPSAMPLE: &[Case] = &[Upsample([2, 3, 4, 5]), Upsample([1, 1, 1, 1]), Upsample([3, 2, 7, 6])];

pub fn cases() -> Vec<Case> {
    let moved = [SHIFT, JOIN, TRANSPOSE, UPSAMPLE].concat();
    [&activations(), LINEAR, LAYER_NORM, GATED, ATTENTION, ATTEND, GEGLU, GROUP_NORM, CONV, &moved].concat()
}

/// One case of every operation that no threshold is near, and the others whose gradients have ways of their own.
pub fn small() -> Vec<Case> {
    let mut cases = [Gelu, GeluTanh, QuickGelu, Silu].map(|which| Activate(which, [3, 7])).to_vec();
    cases.extend([
        LINEAR[2],
        LINEAR[3],
        LAYER_NORM[0],
        GATED[0],
        ATTENTION[0],
        ATTENTION[2],
        ATTEND[0],
        GEGLU[0],
    ]);
    cases.extend([GROUP_NORM[0], GROUP_NORM[1], CONV[0], CONV[1], CONV[4], CONV[12]]);
    cases.extend([SHIFT[0], JOIN[0], TRANSPOSE[0], UPSAMPLE[0], IN_TILES]);
    cases
}
