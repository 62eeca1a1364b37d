//! Enums whose variants have names, in files and on the command line.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// Gives an enum of plain variants their names: its constants `ALL` and `NAMES`, `name`, [`Display`](std::fmt::Display)
/// and [`FromStr`](std::str::FromStr), with [`UnknownName`](crate::named::UnknownName) as the error.
///
/// ```
/// use diffusion_core::named;
///
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// enum Season {
///     Wet,
///     Dry,
/// }
/// named!(Season { Wet = "wet", Dry = "dry" });
///
/// assert_eq!("dry".parse(), Ok(Season::Dry));
/// assert_eq!((Season::Wet.to_string().as_str(), Season::NAMES), ("wet", ["wet", "dry"]));
/// assert_eq!("cold".parse::<Season>().unwrap_err().to_string(), "found `cold`, expected one of wet, dry");
/// ```
#[macro_export]
macro_rules! named {
    ($kind:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $kind {
            /// All of them.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Their names, in the order of [`ALL`](Self::ALL).
            pub const NAMES: [&str; Self::ALL.len()] = [$($name),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl ::std::str::FromStr for $kind {
            type Err = $crate::named::UnknownName;

            fn from_str(name: &str) -> ::std::result::Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::named::UnknownName::new(name, &Self::NAMES)),
                }
            }
        }

        impl ::std::fmt::Display for $kind {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

/// A name that no variant has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    found: String,
    known: &'static [&'static str],
}

impl UnknownName {
    /// That of `found`, where the `known` names are all there are.
    pub fn new(found: &str, known: &'static [&'static str]) -> Self {
        Self { found: found.into(), known }
    }
}

impl Display for UnknownName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "found `{}`, expected one of {}", self.found, self.known.join(", "))
    }
}

impl Error for UnknownName {}
