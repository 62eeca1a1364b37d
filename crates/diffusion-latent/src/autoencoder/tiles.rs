//! Encoding and decoding in tiles, for memory.

use super::{Autoencoder, Moments};
use burn::tensor::{Tensor, backend::Backend};

impl<B: Backend> Autoencoder<B> {
    /// As [`encode_moments`](Self::encode_moments), in tiles of `sample_size` pixels that overlap by a quarter, if a side is
    /// larger; as diffusers does after `enable_tiling`. This is another function of the image: each tile is normalized by
    /// itself.
    ///
    /// # Shapes
    /// - as there
    pub fn encode_moments_in_tiles(&self, images: Tensor<B, 4>) -> Moments<B> {
        let (pixels, latents) = self.tile_sizes();
        Moments::of(in_tiles(images, pixels, latents, |tile| self.joined_moments(tile)))
    }

    /// As [`decode`](Self::decode), in tiles of `sample_size / factor` pixels of latents that overlap by a quarter, if a side
    /// is larger; as diffusers does after `enable_tiling`. This is another function of the latents: each tile is normalized by
    /// itself.
    ///
    /// # Shapes
    /// - as there
    pub fn decode_in_tiles(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let (pixels, tile) = self.tile_sizes();
        in_tiles(self.unscale(latents), tile, pixels, |tile| self.decode_unscaled(tile))
    }

    /// Height and width of a tile, in pixels and in latents.
    fn tile_sizes(&self) -> (usize, usize) {
        let pixels = self.config.sample_size;
        (pixels, (pixels / self.config.factor()).max(1))
    }
}

/// The result of `function` on tiles of `size`, which are `result` large behind it, blended where they overlap.
fn in_tiles<B: Backend>(
    x: Tensor<B, 4>,
    size: usize,
    result: usize,
    function: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>,
) -> Tensor<B, 4> {
    let [_, _, height, width] = x.dims();
    if height <= size && width <= size {
        return function(x);
    }
    let (step, extent) = ((size * 3 / 4).max(1), result / 4);
    let kept = (result - extent).max(1);
    let mut above: Vec<Tensor<B, 4>> = Vec::new();
    let mut rows = Vec::new();
    for top in (0..height).step_by(step) {
        let mut row: Vec<Tensor<B, 4>> = Vec::new();
        for (column, left) in (0..width).step_by(step).enumerate() {
            let tile = x.clone().narrow(2, top, size.min(height - top));
            let mut tile = function(tile.narrow(3, left, size.min(width - left)));
            if let Some(above) = above.get(column) {
                tile = blended(above.clone(), tile, 2, extent);
            }
            if let Some(before) = row.last() {
                tile = blended(before.clone(), tile, 3, extent);
            }
            row.push(tile);
        }
        let cut = |tile: &Tensor<B, 4>| {
            let [_, _, height, width] = tile.dims();
            tile.clone().narrow(2, 0, kept.min(height)).narrow(3, 0, kept.min(width))
        };
        rows.push(Tensor::cat(row.iter().map(cut).collect(), 3));
        above = row;
    }
    Tensor::cat(rows, 2)
}

/// A tile whose first `extent` rows or columns, along `axis`, go over from the last of the tile before it.
fn blended<B: Backend>(before: Tensor<B, 4>, tile: Tensor<B, 4>, axis: usize, extent: usize) -> Tensor<B, 4> {
    let (ends, size) = (before.dims()[axis], tile.dims()[axis]);
    let extent = extent.min(ends).min(size);
    if extent == 0 {
        return tile;
    }
    let mut shape = [1; 4];
    shape[axis] = extent;
    let weight = Tensor::<B, 1>::from_floats(&ramp(extent)[..], &tile.device()).reshape(shape);
    let first = tile.clone().narrow(axis, 0, extent);
    let old = before.narrow(axis, ends - extent, extent);
    let first = old * (weight.clone().neg() + 1.0) + first * weight;
    match size - extent {
        0 => first,
        rest => Tensor::cat(vec![first, tile.narrow(axis, extent, rest)], axis),
    }
}

/// Rising weights from 0, `i / extent`.
fn ramp(extent: usize) -> Vec<f32> {
    (0..extent).map(|i| i as f32 / extent as f32).collect()
}
