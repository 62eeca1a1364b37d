//! Matrix products of slices.
#![allow(
    unsafe_code,
    reason = "the product takes pointers; every one is checked against its slice's length here"
)]

use ::gemm::Parallelism;

/// A strided matrix in a slice.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows are `stride` elements apart.
    pub fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        check(values.len(), rows, columns, stride);
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The transpose.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

fn check(len: usize, rows: usize, columns: usize, stride: usize) {
    let end = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns };
    assert!(
        end <= len && columns <= stride,
        "a matrix of {rows} × {columns} elements, rows {stride} apart, in {len}"
    );
}

/// How many threads share a product.
#[derive(Clone, Copy, PartialEq)]
pub enum Threads {
    One,
    All,
}

/// `out = factor·a·b`, or `out += factor·a·b` to `accumulate`; the rows of `out` are `stride` elements apart.
pub fn product(
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
    factor: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "matrices of a product fit");
    check(out.len(), m, n, stride);
    let parallelism = if threads == Threads::All { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: `check` and `Matrix::new` verified that every element lies inside its slice, and `out` is borrowed mutably.
    unsafe {
        ::gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}
