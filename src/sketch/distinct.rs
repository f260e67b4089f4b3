//! Distinct counts of texts, mergeable: HyperLogLog (Flajolet, Fusy, Gandouet and Meunier, "HyperLogLog:
//! the analysis of a near-optimal cardinality estimation algorithm", AofA 2007) as Apache DataSketches
//! does it, hash, seed and estimator included.
//!
//! A text is hashed to a coupon: 26 bits of address and the count of leading zeros of 64 others, plus one.
//! Up to 512 different coupons are kept as they are; then each of 4,096 registers, chosen by the low bits
//! of the address, keeps the greatest zeros count it saw. Both are functions of the set of texts. The
//! crate's own sketch and bytes also hold the order in which texts came, so ours hold what they are made
//! of, and only the estimate is the crate's: its composite one, which needs no order.
//!
//! **Error.** Up to 512 distinct texts: exact, unless two share a coupon, which happens in fewer than one
//! of 1,500 sketches of 512, and then counts one too few. Above: a standard error of 1.04/√4096 = 1.6 %,
//! so 95 of 100 estimates are within 3.3 % and 997 of 1,000 within 4.9 %.
//!
//! **Shape.** Unit: texts; an empty text is one. The version byte, then one of
//!
//! | form | bytes |
//! | --- | --- |
//! | coupons | 0; how many; the first; then each less the one before |
//! | registers | 1; the least register; half a byte a register, the even one low: register less the least, or 15 for that and more; then of each such register its value |
//!
//! Integers are LEB128. Coupons rise. A register is a byte of 0 to 63.

use std::hash::{Hash, Hasher};

use datasketches::{
    hash::value::raw_bytes,
    hll::{Coupon, HllSketch},
};

use super::{
    Sketch,
    bytes::{Reader, put_integer},
};
use crate::error::Result;

const NAME: &str = "distinct sketch";
const VERSION: u8 = 1;
const COUPONS: u8 = 0;
const REGISTERS: u8 = 1;

/// The logarithm of the count of registers.
const LOG_REGISTERS: u8 = 12;
const REGISTER_COUNT: usize = 1 << LOG_REGISTERS;
/// The greatest value of a register, and so of a coupon's upper six bits.
const REGISTER_MAX: u8 = 63;
/// Above so many coupons, registers take fewer bytes.
const COUPONS_MAX: usize = 512;
/// A register this much above the least stands beside the half bytes.
const OUTLYING: u8 = 15;

type Registers = Box<[u8; REGISTER_COUNT]>;

/// A mergeable sketch of a set of texts that answers for how many are different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinctSketch(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Rising; at most [`COUPONS_MAX`].
    Coupons(Vec<u32>),
    Registers(Registers),
}

impl Default for DistinctSketch {
    fn default() -> Self {
        Self::new()
    }
}

impl DistinctSketch {
    /// One standard deviation of an estimate, as a share of the count. Smaller counts are exact.
    pub const STANDARD_ERROR: f64 = 1.04 / 64.0;
    /// Counts up to this are exact.
    pub const EXACT_MAX: u64 = COUPONS_MAX as u64;

    /// Of no texts.
    pub fn new() -> Self {
        Self(Form::Coupons(Vec::new()))
    }

    /// Adds a text.
    #[inline]
    pub fn add(&mut self, text: &str) {
        self.insert(coupon(text));
    }

    /// How many different texts were added.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Coupons(coupons) => coupons.len() as u64,
            Form::Registers(registers) => estimate(registers).round() as u64,
        }
    }

    #[inline]
    fn insert(&mut self, coupon: u32) {
        match &mut self.0 {
            Form::Registers(registers) => raise(registers, coupon),
            Form::Coupons(coupons) => {
                if let Err(index) = coupons.binary_search(&coupon) {
                    coupons.insert(index, coupon);
                    if coupons.len() > COUPONS_MAX {
                        self.registers();
                    }
                }
            }
        }
    }

    /// Adds coupons that rise, in one pass.
    fn insert_all(&mut self, added: &[u32]) {
        match &mut self.0 {
            Form::Registers(registers) => added.iter().for_each(|coupon| raise(registers, *coupon)),
            Form::Coupons(coupons) if coupons.is_empty() => coupons.extend_from_slice(added),
            // An insertion moves what is above it: worth it for a few.
            Form::Coupons(_) if added.len() <= 8 => added.iter().for_each(|coupon| self.insert(*coupon)),
            Form::Coupons(coupons) => {
                let mut all = Vec::with_capacity(coupons.len() + added.len());
                let (mut own, mut other) = (coupons.iter().copied().peekable(), added.iter().copied().peekable());
                while let (Some(left), Some(right)) = (own.peek().copied(), other.peek().copied()) {
                    all.push(left.min(right));
                    own.next_if(|coupon| *coupon <= right);
                    other.next_if(|coupon| *coupon <= left);
                }
                all.extend(own);
                all.extend(other);
                *coupons = all;
                if coupons.len() > COUPONS_MAX {
                    self.registers();
                }
            }
        }
    }

    /// The registers, made of the coupons if there are none yet.
    fn registers(&mut self) -> &mut Registers {
        if let Form::Coupons(coupons) = &self.0 {
            let mut registers = no_registers();
            coupons.iter().for_each(|coupon| raise(&mut registers, *coupon));
            self.0 = Form::Registers(registers);
        }
        match &mut self.0 {
            Form::Registers(registers) => registers,
            Form::Coupons(_) => unreachable!("coupons became registers above"),
        }
    }
}

impl Sketch for DistinctSketch {
    fn merge(&mut self, other: &Self) -> Result<()> {
        match &other.0 {
            Form::Coupons(coupons) => self.insert_all(coupons),
            Form::Registers(added) => {
                for (own, added) in self.registers().iter_mut().zip(added.iter()) {
                    *own = (*own).max(*added);
                }
            }
        }
        Ok(())
    }

    fn merge_encoded(&mut self, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new(NAME, VERSION, bytes)?;
        match reader.byte("form")? {
            COUPONS => {
                let mut coupons = [0; COUPONS_MAX];
                let count = read_coupons(&mut reader, &mut coupons)?;
                self.insert_all(&coupons[..count]);
            }
            REGISTERS => read_registers(&mut reader, self.registers())?,
            form => return Err(reader.damaged(format!("form {form} is not known"))),
        }
        reader.end()
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.push(VERSION);
        match &self.0 {
            Form::Coupons(coupons) => {
                bytes.push(COUPONS);
                put_integer(bytes, coupons.len() as u64);
                let mut before = 0;
                for coupon in coupons {
                    put_integer(bytes, u64::from(coupon - before));
                    before = *coupon;
                }
            }
            Form::Registers(registers) => {
                bytes.push(REGISTERS);
                put_registers(bytes, registers);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut sketch = Self::new();
        sketch.merge_encoded(bytes)?;
        Ok(sketch)
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Coupons(coupons) => coupons.capacity() * size_of::<u32>(),
            Form::Registers(_) => REGISTER_COUNT,
        }
    }
}

/// The coupon of a text as DataSketches makes it of a text's bytes.
#[inline]
fn coupon(text: &str) -> u32 {
    let mut bits = Bits(0);
    Coupon::from_value(raw_bytes::from_str(text)).hash(&mut bits);
    bits.0
}

/// A coupon shows its bits to a hasher alone. A test holds them against the crate's own bytes.
struct Bits(u32);

impl Hasher for Bits {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().rev() {
            self.0 = self.0 << 8 | u32::from(*byte);
        }
    }

    fn write_u32(&mut self, bits: u32) {
        self.0 = bits;
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

fn no_registers() -> Registers {
    Box::new([0; REGISTER_COUNT])
}

#[inline]
fn raise(registers: &mut Registers, coupon: u32) {
    let register = &mut registers[coupon as usize % REGISTER_COUNT];
    *register = (*register).max((coupon >> 26) as u8);
}

/// Registers from which on the crate adds up inverse powers of two apart from the others.
const SMALL_FROM: u8 = 32;

/// The inverse power of two of each register below [`SMALL_FROM`]; 0 for the others.
static LARGE_INVERSES: [f64; 256] = {
    let (mut inverses, mut register) = ([0.0; 256], 0);
    while register < SMALL_FROM {
        inverses[register as usize] = inverse(register);
        register += 1;
    }
    inverses
};

const fn inverse(register: u8) -> f64 {
    1.0 / (1_u64 << register) as f64
}

/// The crate's estimate, asked for by handing it a sketch in its own bytes: the preamble of ten words
/// that its `hll` module documents, and the registers. They are marked as merged, so that it knows of
/// no order.
fn estimate(registers: &Registers) -> f64 {
    const PREAMBLE_WORDS: u8 = 10;
    const SERIAL_VERSION: u8 = 1;
    const FAMILY: u8 = 7;
    const OUT_OF_ORDER: u8 = 16;
    const MODE_REGISTERS_OF_BYTES: u8 = 2 | 2 << 2;

    let zeros: u32 = registers.iter().map(|register| u32::from(*register == 0)).sum();
    // Sums of inverse powers of two, the small ones apart, so that both are exact, in whatever order.
    let mut large = [0.0; 4];
    for four in registers.as_chunks().0 {
        let inverses: [f64; 4] = four.map(|register| LARGE_INVERSES[usize::from(register)]);
        large.iter_mut().zip(inverses).for_each(|(sum, inverse)| *sum += inverse);
    }
    let large: f64 = large.iter().sum();
    let small = registers
        .iter()
        .filter(|register| **register >= SMALL_FROM)
        .map(|one| inverse(*one))
        .fold(0.0, |sum, one| sum + one);
    let mut bytes = Vec::with_capacity(40 + REGISTER_COUNT);
    bytes.extend([PREAMBLE_WORDS, SERIAL_VERSION, FAMILY, LOG_REGISTERS, 0, OUT_OF_ORDER, 0, MODE_REGISTERS_OF_BYTES]);
    bytes.extend(0_f64.to_le_bytes());
    bytes.extend(large.to_le_bytes());
    bytes.extend(small.to_le_bytes());
    bytes.extend(zeros.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(registers.iter());
    HllSketch::deserialize(&bytes).expect("the bytes are laid out as the crate reads them").composite_estimate()
}

fn read_coupons(reader: &mut Reader, coupons: &mut [u32; COUPONS_MAX]) -> Result<usize> {
    let count = reader.length(1, "coupons")?;
    if count > COUPONS_MAX {
        return Err(reader.damaged(format!("{count} coupons are more than {COUPONS_MAX}")));
    }
    let mut before = 0_u32;
    for (index, coupon) in coupons[..count].iter_mut().enumerate() {
        let step = reader.integer("coupon")?;
        let next = u32::try_from(step).ok().and_then(|step| before.checked_add(step));
        before = match next {
            // The upper six bits of a coupon are never 0.
            Some(next) if next >> 26 > 0 && (index == 0 || step > 0) => next,
            _ => return Err(reader.damaged(format!("its coupon {index} is none"))),
        };
        *coupon = before;
    }
    Ok(count)
}

/// Eight half bytes as eight bytes, in their order.
#[inline]
fn spread(halves: u32) -> u64 {
    let halves = u64::from(halves);
    let halves = (halves | halves << 16) & 0x0000_ffff_0000_ffff;
    let halves = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    (halves | halves << 4) & 0x0f0f_0f0f_0f0f_0f0f
}

/// Eight bytes below 16 as eight half bytes.
#[inline]
fn pack(bytes: u64) -> u32 {
    let bytes = (bytes | bytes >> 4) & 0x00ff_00ff_00ff_00ff;
    let bytes = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    (bytes | bytes >> 16) as u32
}

fn put_registers(bytes: &mut Vec<u8>, registers: &Registers) {
    let least = registers.iter().copied().fold(u8::MAX, u8::min);
    bytes.push(least);
    // In two passes, each of which the compiler does many at a time.
    let mut above = **registers;
    above.iter_mut().for_each(|register| *register = (*register - least).min(OUTLYING));
    let mut halves = [0_u8; REGISTER_COUNT / 2];
    for (four, eight) in halves.as_chunks_mut::<4>().0.iter_mut().zip(above.as_chunks::<8>().0) {
        *four = pack(u64::from_le_bytes(*eight)).to_le_bytes();
    }
    bytes.extend_from_slice(&halves);
    bytes.extend(outlying(&above).map(|index| registers[index]));
}

/// The registers that stand beside the half bytes: few, so most are passed over many at a time.
fn outlying(above: &[u8; REGISTER_COUNT]) -> impl Iterator<Item = usize> {
    const PASSED: usize = 64;
    let chunks = above.as_chunks::<PASSED>().0.iter().enumerate();
    let found = chunks.filter(|(_, chunk)| chunk.iter().fold(false, |found, one| found | (*one >= OUTLYING)));
    found.flat_map(|(number, chunk)| {
        (0..PASSED).filter(move |index| chunk[*index] >= OUTLYING).map(move |index| PASSED * number + index)
    })
}

/// In plain passes over all registers, which the compiler does many at a time; what is outlying is rare.
fn read_registers(reader: &mut Reader, registers: &mut Registers) -> Result<()> {
    let least = reader.byte("least register")?;
    let mut above = [0_u8; REGISTER_COUNT];
    let halves = reader.take(REGISTER_COUNT / 2, "registers")?;
    for (eight, halves) in above.as_chunks_mut::<8>().0.iter_mut().zip(halves.as_chunks::<4>().0) {
        *eight = spread(u32::from_le_bytes(*halves)).to_le_bytes();
    }
    let least_is_there = above.iter().fold(false, |found, one| found | (*one == 0));
    let mut read = above;
    read.iter_mut().for_each(|register| *register = register.saturating_add(least));
    for index in outlying(&above) {
        let register = reader.byte("outlying register")?;
        if register < read[index] {
            return Err(reader.damaged(format!("an outlying register cannot be {register}")));
        }
        read[index] = register;
    }
    let greatest = read.iter().copied().fold(0, u8::max);
    if !least_is_there || greatest == 0 || greatest > REGISTER_MAX {
        return Err(reader.damaged(format!("its registers cannot be {least} to {greatest}")));
    }
    for (register, read) in registers.iter_mut().zip(read) {
        *register = (*register).max(read);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datasketches::{
        hash::value::raw_bytes,
        hll::{HllSketch, HllType},
    };

    use super::{coupon, estimate, no_registers, raise};

    /// What is taken from the crate beside its documented interface: a coupon's bits, and its bytes.
    #[test]
    fn coupons_and_estimates_are_those_of_the_crate() {
        let mut few = HllSketch::new(12, HllType::Hll8).unwrap();
        few.update(raw_bytes::from_str("user-1"));
        let bytes = few.serialize();
        assert_eq!(bytes[8..12], coupon("user-1").to_le_bytes());

        for count in [1, 10, 600, 5_000, 50_000, 400_000] {
            let mut theirs = HllSketch::new(12, HllType::Hll8).unwrap();
            let mut ours = no_registers();
            for index in 0..count {
                let text = format!("user-{index}");
                theirs.update(raw_bytes::from_str(&text));
                raise(&mut ours, coupon(&text));
            }
            if count >= 600 {
                assert_eq!(&theirs.serialize()[40..], ours.as_slice());
                assert_eq!(theirs.composite_estimate(), estimate(&ours));
            }
        }
    }
}
