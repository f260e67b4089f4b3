//! Sketches in SQL: aggregates that build and merge them, functions that read them. A sketch is a
//! binary value in the form of [`crate::sketch`]: in a column, a state or a result. What its bytes mean
//! is decided there, never here.

mod aggregates;
mod functions;

pub use aggregates::aggregates;
pub use functions::functions;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray},
    datatypes::DataType,
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    error::DataFusionError,
};

use crate::error::Error;

/// A column of sketches, in either form that a binary column has.
pub(super) enum Blobs<'a> {
    Offsets(&'a BinaryArray),
    Views(&'a BinaryViewArray),
}

impl<'a> Blobs<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Binary => Ok(Self::Offsets(array.as_binary())),
            DataType::BinaryView => Ok(Self::Views(array.as_binary_view())),
            other => exec_err!("a sketch is binary, not {other}"),
        }
    }

    #[inline]
    pub(super) fn at(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Offsets(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Views(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// The type in which a sketch is taken: as it is stored, so that nothing is copied.
pub(super) fn binary_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Binary | DataType::BinaryView => Ok(given.clone()),
        DataType::LargeBinary | DataType::Null => Ok(DataType::Binary),
        other => plan_err!("{function} takes a sketch, which is binary, not {other}"),
    }
}

fn number_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        given if given.is_numeric() || *given == DataType::Null => Ok(DataType::Float64),
        other => plan_err!("{function} takes a number, not {other}"),
    }
}

/// The error of a sketch that cannot be read or merged.
pub(super) fn refused(error: Error) -> DataFusionError {
    exec_datafusion_err!("{error}")
}
