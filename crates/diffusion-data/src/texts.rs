//! The encoded texts in a file of latents: each different one once, and which of them each latent has.

use diffusion_core::{Tokens, watch::Watch};
use diffusion_weights::TensorFile;

use crate::{
    error::{DataError, Problem},
    shard::{Shard, check_floats, integers, tensor, wrong_shape},
};

/// The tensor that tells the row of each latent's text.
const TEXT: &str = "text";
/// The tensor of the texts.
const TOKENS: &str = "text_tokens";

/// What is known of the texts of a file, whether it is open or not.
pub(crate) struct Texts {
    /// How many different texts, the tokens of each, and the width of a token; at least 1 of each.
    shape: [usize; 3],
    /// The row of the text of each latent.
    rows: Vec<usize>,
}

impl Texts {
    /// Looks for the texts of a shard, whose file is open; reads which one each latent has.
    pub(crate) fn find(shard: &Shard, file: &TensorFile, watch: &Watch) -> Result<Option<Self>, DataError> {
        if file.shape(TEXT).is_none() && file.shape(TOKENS).is_none() {
            return Ok(None);
        }
        let shape = shape(file)?;
        let check = |index, found: i128| match usize::try_from(found) {
            Ok(row) if row < shape[0] => Ok(row),
            _ => {
                let found = format!("gives example {index} the text {found}");
                Err(Problem::format(found, format!("a row of {TOKENS}, at least 0 and below {}", shape[0])))
            }
        };
        let rows = integers(file, TEXT, shard.len, watch, check)?;
        Ok(Some(Self { shape, rows }))
    }

    /// The number of tokens, and the width of one.
    pub(crate) fn shape(&self) -> [usize; 2] {
        let [_, tokens, width] = self.shape;
        [tokens, width]
    }

    /// Whether a file that was opened once more has as many texts of the same shape.
    pub(crate) fn check(&self, file: &TensorFile) -> Result<(), DataError> {
        if shape(file)? == self.shape {
            return Ok(());
        }
        let found = "has other texts than when it was opened first";
        Err(Problem::format(found, "that it stays as it is").at(file.path()))
    }

    /// Reads the text of the latent in row `row` of the file: `[1, tokens, width]`.
    ///
    /// # Errors
    /// If the file can no longer be read, or a value is infinite or not a number.
    pub(crate) fn read(&self, file: &TensorFile, row: usize) -> Result<Tokens, DataError> {
        let ([tokens, width], text) = (self.shape(), self.rows[row]);
        let mut values = vec![0.0; tokens * width];
        file.read_rows(TOKENS, text..text + 1, &mut values)?;
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(Tokens::new(values, [1, tokens, width])),
            Some(value) => {
                let found = format!("has {value} in row {text} of {TOKENS}, the text of example {row}");
                Err(Problem::format(found, "finite numbers").at(file.path()))
            }
        }
    }
}

/// The shape of the tensor of the texts, which must be there.
fn shape(file: &TensorFile) -> Result<[usize; 3], DataError> {
    match *tensor(file, TOKENS)? {
        [n, tokens, width] if n * tokens * width > 0 => {
            check_floats(file, TOKENS)?;
            Ok([n, tokens, width])
        }
        _ => Err(wrong_shape(file, TOKENS, "[n, tokens, width] with at least 1 of each".to_owned())),
    }
}
