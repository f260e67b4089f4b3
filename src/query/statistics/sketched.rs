//! Tests of two sketches, `(reference, current)`: of the values behind them only the bins are known, so a result is
//! stated with its bound. A null sketch is one of no values.

use arrow::{array::ArrayRef, datatypes::DataType};
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::results::{self, Named, column, structure, structure_type};
use crate::{
    query::sketches::{Blobs, binary_type, refused},
    sketch::{Histogram, QuantileSketch, Sketch},
    stats::{joined_to_deciles, ks_test_of_bins, psi},
};

/// The functions.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let functions = [
        ("ks_test_sketch", Test::KolmogorovSmirnov, Of::Quantiles),
        ("ks_test_histogram", Test::KolmogorovSmirnov, Of::Buckets),
        ("psi_sketch", Test::Psi, Of::Quantiles),
        ("psi_histogram", Test::Psi, Of::Buckets),
    ];
    functions.into_iter().map(|(name, test, of)| ScalarUDF::from(Sketched::new(name, test, of))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Test {
    KolmogorovSmirnov,
    Psi,
}

impl Test {
    fn of(self, counts: &[(u64, u64)]) -> Named {
        let (n_reference, n_current) = counts.iter().fold((0, 0), |(reference, current), count| {
            (u64::saturating_add(reference, count.0), u64::saturating_add(current, count.1))
        });
        match self {
            Self::KolmogorovSmirnov => results::binned(ks_test_of_bins(counts), n_reference, n_current),
            Self::Psi => results::psi(psi(&joined_to_deciles(counts)), n_reference, n_current),
        }
    }
}

/// The kind of sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Quantiles,
    Buckets,
}

impl Of {
    /// Counts of both in the same bins, by rising value.
    fn bins(self, reference: Option<&[u8]>, current: Option<&[u8]>) -> Result<Vec<(u64, u64)>> {
        match self {
            Self::Quantiles => {
                let sketch = |bytes: Option<&[u8]>| match bytes {
                    Some(bytes) => QuantileSketch::decode(bytes).map_err(refused),
                    None => Ok(QuantileSketch::new()),
                };
                Ok(sketch(reference)?.bins_beside(&sketch(current)?))
            }
            Self::Buckets => {
                let histogram = |bytes: Option<&[u8]>| bytes.map(Histogram::decode).transpose().map_err(refused);
                match (histogram(reference)?, histogram(current)?) {
                    (Some(reference), Some(current)) => reference.buckets_beside(&current).map_err(refused),
                    (Some(reference), None) => Ok(reference.counts().iter().map(|count| (*count, 0)).collect()),
                    (None, Some(current)) => Ok(current.counts().iter().map(|count| (0, *count)).collect()),
                    (None, None) => Ok(Vec::new()),
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sketched {
    name: &'static str,
    test: Test,
    of: Of,
    signature: Signature,
}

impl Sketched {
    fn new(name: &'static str, test: Test, of: Of) -> Self {
        Self { name, test, of, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Sketched {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [reference, current] => Ok(vec![binary_type(self.name, reference)?, binary_type(self.name, current)?]),
            _ => plan_err!("{} takes two sketches, that of the reference first", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(structure_type(&self.test.of(&[])))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Vec<ArrayRef> = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<_>>()?;
        let (references, currents) = (Blobs::of(&arrays[0])?, Blobs::of(&arrays[1])?);
        let answer = |row: usize| structure(self.test.of(&self.of.bins(references.at(row), currents.at(row))?));
        let answers = (0..rows).map(answer).collect::<Result<Vec<_>>>()?;
        column(&structure_type(&self.test.of(&[])), answers)
    }
}
