//! The arrays in files of statistics.

use crate::error::MetricError;
use diffusion_weights::{NpyArray, PickledDict, WeightsError, open_regular, read_npz, read_regular};
use std::io::{self, Read};
use std::path::Path;

/// The names of the arrays.
const NAMES: [&str; 2] = ["mu", "sigma"];

/// The longest pickle that is read, in bytes; EDM2's have some 40 MB.
const LONGEST: u64 = 1 << 30;

/// A pickle of the protocols since 2 begins with it.
const PICKLE: u8 = 0x80;

/// `mu` and `sigma`: of the set `set` in a pickle, or of the only one there is.
pub(crate) fn read(path: &Path, set: Option<&str>) -> Result<[NpyArray; 2], MetricError> {
    let unread = |source| {
        let path = path.to_path_buf();
        MetricError::File(WeightsError::Io { action: "read", path, source })
    };
    if !is_pickle(path).map_err(unread)? {
        return Ok(read_npz(path, NAMES)?);
    }
    let bytes = read_regular(path, LONGEST).map_err(unread)?;
    let none = |reason| MetricError::NoStatistics { path: path.to_path_buf(), reason };
    let dict = PickledDict::read(&bytes).map_err(none)?;
    let (mut sets, mut found) = (Vec::new(), Vec::new());
    if arrays(&dict).map_err(none)?.is_some() {
        sets.push(dict);
    } else {
        for key in dict.keys() {
            if let Ok(Some(inner)) = dict.dict(&key) {
                found.push(key.clone());
                if set.is_none_or(|set| set == key) {
                    sets.push(inner);
                }
            }
        }
    }
    let other = || {
        let (found, set) = (found.clone(), set.map(str::to_owned));
        MetricError::Sets { path: path.to_path_buf(), found, set }
    };
    let [only] = &sets[..] else { return Err(other()) };
    arrays(only).map_err(none)?.ok_or_else(|| none("its set has no arrays `mu` and `sigma`".into()))
}

fn is_pickle(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    open_regular(path)?.take(1).read_to_end(&mut first)?;
    Ok(first == [PICKLE])
}

/// Both arrays, if they are there.
fn arrays(dict: &PickledDict<'_>) -> Result<Option<[NpyArray; 2]>, String> {
    let [mu, sigma] = NAMES.map(|name| dict.floats(name));
    Ok(mu?.zip(sigma?).map(|(mu, sigma)| [mu, sigma]))
}
