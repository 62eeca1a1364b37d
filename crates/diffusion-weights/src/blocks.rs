//! Many values, written by all threads at the same time.

use rayon::prelude::*;
use std::convert::Infallible;
use std::sync::OnceLock;

/// How many values a thread writes at once: few enough to stay in its nearest cache.
pub(crate) const BLOCK: usize = 4096;

/// The `count` values that `write` writes, told where they begin; called for a [`BLOCK`] or the rest, from several
/// threads, in any order.
///
/// The memory is touched once, where the values are: it is not filled with zeros before, which would take as long.
///
/// # Errors
/// One of those of `write`.
pub(crate) fn collect<T, E>(
    count: usize,
    write: impl Fn(usize, &mut [T]) -> Result<(), E> + Sync,
) -> Result<Vec<T>, E>
where
    T: Copy + Default + Send,
    E: Send + Sync,
{
    if count < BLOCK {
        let mut values = vec![T::default(); count];
        write(0, &mut values)?;
        return Ok(values);
    }
    let failure = OnceLock::new();
    let block = |index: usize| {
        let mut block = [T::default(); BLOCK];
        if failure.get().is_none()
            && let Err(error) = write(index * BLOCK, &mut block)
        {
            // Another may have been first.
            let _ = failure.set(error);
        }
        block
    };
    let whole = count / BLOCK;
    let mut blocks = Vec::with_capacity(count.div_ceil(BLOCK));
    blocks.par_extend((0..whole).into_par_iter().map(block));
    if let Some(error) = failure.into_inner() {
        return Err(error);
    }
    let mut values = blocks.into_flattened();
    let rest = &mut [T::default(); BLOCK][..count % BLOCK];
    if !rest.is_empty() {
        write(whole * BLOCK, rest)?;
        values.extend_from_slice(rest);
    }
    Ok(values)
}

/// The place of the first value that is infinite or no number.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<usize> {
    let largest = |values: &[f32]| values.iter().fold(0, |largest, value| value.abs().to_bits().max(largest));
    let block = values.par_chunks(BLOCK).position_first(|block| largest(block) >= f32::INFINITY.to_bits())?;
    let within = values[block * BLOCK..].iter().position(|value| !value.is_finite())?;
    Some(block * BLOCK + within)
}

/// Height and width of the piece of a matrix that a thread turns at once, in its nearest cache.
const TILE: usize = 64;

/// The columns of a matrix one after the other, given its rows.
///
/// # Shapes
/// - `values`: `[rows, columns]`
/// - returns `[columns, rows]`
pub(crate) fn transpose(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let Ok(mut into) = collect(values.len(), |_, _| Ok::<_, Infallible>(()));
    let bands = into.par_chunks_mut((TILE * rows).max(1)).enumerate();
    bands.for_each(|(band, into)| {
        let (first, width) = (band * TILE, into.len() / rows);
        let mut tile = [[0.0; TILE]; TILE];
        for start in (0..rows).step_by(TILE) {
            let end = rows.min(start + TILE);
            for row in start..end {
                let values = &values[row * columns + first..][..width];
                tile.iter_mut().zip(values).for_each(|(column, value)| column[row - start] = *value);
            }
            for (column, into) in tile.iter().zip(into.chunks_mut(rows)) {
                into[start..end].copy_from_slice(&column[..end - start]);
            }
        }
    });
    into
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_are_written() {
        for count in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 7] {
            let write = |from: usize, into: &mut [u64]| {
                into.iter_mut().zip(from..).for_each(|(into, at)| *into = at as u64);
                Ok::<_, Infallible>(())
            };
            let Ok(values) = collect(count, write);
            assert_eq!(values.len(), count);
            assert!(values.iter().zip(0..).all(|(value, at)| *value == at), "{count}");
        }
    }

    #[test]
    fn an_error_in_any_block_is_reported() {
        let count = 5 * BLOCK + 7;
        for failing in 0..=5 {
            let write = |from: usize, _: &mut [f32]| if from == failing * BLOCK { Err(from) } else { Ok(()) };
            assert_eq!(collect(count, write), Err(failing * BLOCK));
        }
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found() {
        let finite = vec![f32::MIN; 3 * BLOCK + 7];
        assert_eq!(first_not_finite(&finite), None);
        for at in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 5, 3 * BLOCK + 6] {
            for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
                let mut values = finite.clone();
                values[at..].fill(f32::NAN);
                values[at] = value;
                assert_eq!(first_not_finite(&values), Some(at));
            }
        }
    }

    #[test]
    fn columns_become_rows() {
        let sizes = [[0, 3], [3, 0], [1, 1], [1, 200], [200, 1], [64, 128], [63, 65], [200, 131]];
        for [rows, columns] in sizes {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let expected: Vec<f32> = (0..columns)
                .flat_map(|column| (0..rows).map(move |row| (row * columns + column) as f32))
                .collect();
            assert_eq!(transpose(&values, [rows, columns]), expected, "{rows} x {columns}");
        }
    }
}
