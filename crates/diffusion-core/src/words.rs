//! Numbers with the words that they count, for messages.

/// A number and what it counts: `1 step`, `2 steps`, `0 classes`.
///
/// `what` is the word for one of them; its plural ends in `s`, or in `es` where the word itself ends in `s` or `x`.
///
/// ```
/// use diffusion_core::counted;
///
/// assert_eq!(counted(1, "step"), "1 step");
/// assert_eq!(counted(0, "class"), "0 classes");
/// ```
pub fn counted(n: impl TryInto<u128> + Copy + std::fmt::Display, what: &str) -> String {
    let is_one = n.try_into().is_ok_and(|n| n == 1);
    let plural = match what.ends_with(['s', 'x']) {
        _ if is_one => "",
        true => "es",
        false => "s",
    };
    format!("{n} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let found = [0_u64, 1, 2, 21].map(|n| counted(n, "example"));
        assert_eq!(found, ["0 examples", "1 example", "2 examples", "21 examples"]);
        assert_eq!([1_usize, 3].map(|n| counted(n, "class")), ["1 class", "3 classes"]);
    }
}
