//! The backends that are built in, for code that is stamped for each of them.

use burn::tensor::backend::Backend;

/// How exactly a backend computes; implemented for those that are built in.
///
/// ```
/// use diffusion_backends::Tolerance;
///
/// /// Whether a backend computed what it should.
/// fn agrees<B: Tolerance>(found: f64, expected: f64) -> bool {
///     (found - expected).abs() <= B::TOLERANCE * expected.abs()
/// }
///
/// # #[cfg(feature = "flex")]
/// assert!(agrees::<burn::backend::Flex>(1.0 + 1e-9, 1.0) && !agrees::<burn::backend::Flex>(1.1, 1.0));
/// ```
pub trait Tolerance: Backend {
    /// The largest deviation allowed of a forward pass, a loss or a trajectory, relative to the largest value.
    ///
    /// An f32 of PyTorch lies within 5e-7 of f64 in most of the fixtures; a GPU's sines and exponentials are coarser.
    const TOLERANCE: f64;
}

macro_rules! backends {
    ($(
        $(#[doc = $doc:literal])+
        $module:ident $feature:literal $name:ident {
            burn: $burn:ident, device: $device:ident, autotune: $autotune:literal, ci: $ci:ident,
            tolerance: $tolerance:literal, hint: $hint:literal $(, unless: $twin:literal)?
        }
    )+) => {
        $(
            #[cfg(all(feature = $feature $(, not(feature = $twin))?))]
            impl Tolerance for burn::backend::$burn {
                const TOLERANCE: f64 = $tolerance;
            }
        )+

        exported! { ($) $($module $feature $name $burn)+ }
    };
}

/// Exports [`for_each_built`]; `$dollar` is the sign that a macro of a macro cannot write.
macro_rules! exported {
    (($dollar:tt) $($module:ident $feature:literal $name:ident $burn:ident)+) => {
        $(
            #[cfg(feature = $feature)]
            #[doc(hidden)]
            #[macro_export]
            macro_rules! $module {
                ($dollar($dollar built:tt)*) => { $dollar($dollar built)* };
            }

            #[cfg(not(feature = $feature))]
            #[doc(hidden)]
            #[macro_export]
            macro_rules! $module {
                ($dollar($dollar built:tt)*) => {};
            }
        )+

        /// Calls a macro once for every backend that is built in, for code that is stamped instead of generic.
        ///
        /// `for_each_built! { [path::to::then] (anything) }` becomes `path::to::then! { (module Name Type) (anything) }`
        /// for each: a name for a module, the variant of [`BackendName`](crate::BackendName), and the type in
        /// `burn::backend`.
        #[macro_export]
        macro_rules! for_each_built {
            ([$dollar($dollar then:tt)+] $dollar arguments:tt) => {
                $($crate::$module! { $dollar($dollar then)+ ! { ($module $name $burn) $dollar arguments } })+
            };
        }
    };
}

include!("table.rs");
