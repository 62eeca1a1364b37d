//! The layers of the network and their names, which are torchvision's.

/// Pooling by 3×3 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// The largest value, of every second place, without a border.
    Halve,
    /// The largest value, the size staying.
    Max,
    /// The mean of those pixels that there are, the size staying.
    Average,
}

/// A convolution, its batch norm and a ReLU.
#[derive(Clone, Debug)]
pub(super) struct Conv {
    /// The name that those of its tensors begin with.
    pub name: String,
    /// Channels of its input.
    pub inputs: usize,
    /// Channels of its output.
    pub outputs: usize,
    /// Height and width of its kernel.
    pub kernel: [usize; 2],
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Rows at the top and bottom, and columns at both sides, of zeros.
    pub padding: [usize; 2],
}

impl Conv {
    /// The shape of its weight, `[outputs, inputs, kernel height, kernel width]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.outputs, self.inputs, self.kernel[0], self.kernel[1]]
    }
}

/// One way through a block.
#[derive(Clone, Debug)]
pub(super) struct Branch<C> {
    /// What comes first.
    pub pool: Option<Pool>,
    /// One after the other.
    pub convs: Vec<C>,
    /// Side by side behind them, their channels joined.
    pub ends: Vec<C>,
}

/// A layer whose convolutions are `C`.
#[derive(Clone, Debug)]
pub(super) enum Layer<C> {
    Conv(C),
    Pool(Pool),
    /// Branches of one input, their channels joined.
    Mixed(Vec<Branch<C>>),
}

impl<C> Layer<C> {
    /// All convolutions.
    pub fn convs(&self) -> Vec<&C> {
        match self {
            Self::Conv(conv) => vec![conv],
            Self::Pool(_) => Vec::new(),
            Self::Mixed(branches) => {
                branches.iter().flat_map(|branch| branch.convs.iter().chain(&branch.ends)).collect()
            }
        }
    }

    /// The same layer of other convolutions.
    pub fn try_map<D, E>(self, map: &mut impl FnMut(C) -> Result<D, E>) -> Result<Layer<D>, E> {
        Ok(match self {
            Self::Conv(conv) => Layer::Conv(map(conv)?),
            Self::Pool(pool) => Layer::Pool(pool),
            Self::Mixed(branches) => {
                let branch = |Branch { pool, convs, ends }| {
                    let convs = convs.into_iter().map(&mut *map).collect::<Result<_, E>>()?;
                    let ends = ends.into_iter().map(&mut *map).collect::<Result<_, E>>()?;
                    Ok(Branch { pool, convs, ends })
                };
                Layer::Mixed(branches.into_iter().map(branch).collect::<Result<_, E>>()?)
            }
        })
    }
}

/// The layers, from an image of three channels to 2048 channels of 8×8 pixels.
pub(super) fn layers() -> Vec<Layer<Conv>> {
    let mut plan = Plan { channels: 3, layers: Vec::new() };
    plan.conv(halving("Conv2d_1a_3x3", 32));
    plan.conv(Conv { padding: [0, 0], ..same("Conv2d_2a_3x3", 32, [3, 3]) });
    plan.conv(same("Conv2d_2b_3x3", 64, [3, 3]));
    plan.layers.push(Layer::Pool(Pool::Halve));
    plan.conv(same("Conv2d_3b_1x1", 80, [1, 1]));
    plan.conv(Conv { padding: [0, 0], ..same("Conv2d_4a_3x3", 192, [3, 3]) });
    plan.layers.push(Layer::Pool(Pool::Halve));
    plan.mixed("Mixed_5b", block_a(32));
    plan.mixed("Mixed_5c", block_a(64));
    plan.mixed("Mixed_5d", block_a(64));
    plan.mixed("Mixed_6a", block_b());
    plan.mixed("Mixed_6b", block_c(128));
    plan.mixed("Mixed_6c", block_c(160));
    plan.mixed("Mixed_6d", block_c(160));
    plan.mixed("Mixed_6e", block_c(192));
    plan.mixed("Mixed_7a", block_d());
    plan.mixed("Mixed_7b", block_e(Pool::Average));
    plan.mixed("Mixed_7c", block_e(Pool::Max));
    plan.layers
}

/// Knows how many channels there are so far.
struct Plan {
    channels: usize,
    layers: Vec<Layer<Conv>>,
}

impl Plan {
    fn conv(&mut self, conv: Conv) {
        let inputs = std::mem::replace(&mut self.channels, conv.outputs);
        self.layers.push(Layer::Conv(Conv { inputs, ..conv }));
    }

    fn mixed(&mut self, block: &str, mut branches: Vec<Branch<Conv>>) {
        let mut joined = 0;
        for branch in &mut branches {
            let mut channels = self.channels;
            for conv in &mut branch.convs {
                conv.inputs = std::mem::replace(&mut channels, conv.outputs);
            }
            branch.ends.iter_mut().for_each(|conv| conv.inputs = channels);
            let ends: usize = branch.ends.iter().map(|conv| conv.outputs).sum();
            joined += if ends > 0 { ends } else { channels };
            for conv in branch.convs.iter_mut().chain(&mut branch.ends) {
                conv.name = format!("{block}.{}", conv.name);
            }
        }
        self.channels = joined;
        self.layers.push(Layer::Mixed(branches));
    }
}

/// A convolution that leaves the size of images as it is.
fn same(name: &str, outputs: usize, kernel: [usize; 2]) -> Conv {
    let padding = kernel.map(|size| size / 2);
    Conv { name: name.to_string(), inputs: 0, outputs, kernel, stride: 1, padding }
}

/// A convolution of 3×3 pixels at every second place.
fn halving(name: &str, outputs: usize) -> Conv {
    Conv { stride: 2, padding: [0, 0], ..same(name, outputs, [3, 3]) }
}

fn branch(convs: impl IntoIterator<Item = Conv>) -> Branch<Conv> {
    Branch { pool: None, convs: convs.into_iter().collect(), ends: Vec::new() }
}

impl Branch<Conv> {
    fn after(self, pool: Pool) -> Self {
        Self { pool: Some(pool), ..self }
    }

    fn ending_in(self, ends: impl IntoIterator<Item = Conv>) -> Self {
        Self { ends: ends.into_iter().collect(), ..self }
    }
}

fn block_a(pooled: usize) -> Vec<Branch<Conv>> {
    vec![
        branch([same("branch1x1", 64, [1, 1])]),
        branch([same("branch5x5_1", 48, [1, 1]), same("branch5x5_2", 64, [5, 5])]),
        branch([
            same("branch3x3dbl_1", 64, [1, 1]),
            same("branch3x3dbl_2", 96, [3, 3]),
            same("branch3x3dbl_3", 96, [3, 3]),
        ]),
        branch([same("branch_pool", pooled, [1, 1])]).after(Pool::Average),
    ]
}

fn block_b() -> Vec<Branch<Conv>> {
    vec![
        branch([halving("branch3x3", 384)]),
        branch([
            same("branch3x3dbl_1", 64, [1, 1]),
            same("branch3x3dbl_2", 96, [3, 3]),
            halving("branch3x3dbl_3", 96),
        ]),
        branch([]).after(Pool::Halve),
    ]
}

fn block_c(inner: usize) -> Vec<Branch<Conv>> {
    vec![
        branch([same("branch1x1", 192, [1, 1])]),
        branch([
            same("branch7x7_1", inner, [1, 1]),
            same("branch7x7_2", inner, [1, 7]),
            same("branch7x7_3", 192, [7, 1]),
        ]),
        branch([
            same("branch7x7dbl_1", inner, [1, 1]),
            same("branch7x7dbl_2", inner, [7, 1]),
            same("branch7x7dbl_3", inner, [1, 7]),
            same("branch7x7dbl_4", inner, [7, 1]),
            same("branch7x7dbl_5", 192, [1, 7]),
        ]),
        branch([same("branch_pool", 192, [1, 1])]).after(Pool::Average),
    ]
}

fn block_d() -> Vec<Branch<Conv>> {
    vec![
        branch([same("branch3x3_1", 192, [1, 1]), halving("branch3x3_2", 320)]),
        branch([
            same("branch7x7x3_1", 192, [1, 1]),
            same("branch7x7x3_2", 192, [1, 7]),
            same("branch7x7x3_3", 192, [7, 1]),
            halving("branch7x7x3_4", 192),
        ]),
        branch([]).after(Pool::Halve),
    ]
}

fn block_e(pool: Pool) -> Vec<Branch<Conv>> {
    let ends = |one: &str, other: &str| [same(one, 384, [1, 3]), same(other, 384, [3, 1])];
    vec![
        branch([same("branch1x1", 320, [1, 1])]),
        branch([same("branch3x3_1", 384, [1, 1])]).ending_in(ends("branch3x3_2a", "branch3x3_2b")),
        branch([same("branch3x3dbl_1", 448, [1, 1]), same("branch3x3dbl_2", 384, [3, 3])])
            .ending_in(ends("branch3x3dbl_3a", "branch3x3dbl_3b")),
        branch([same("branch_pool", 192, [1, 1])]).after(pool),
    ]
}
