//! Encodes the integers of a pickle in the shortest form.
//!
//! serde-pickle writes an unsigned integer above 31 bits as nine bytes, and every other `u64` as four. The page of
//! `memory_viz` reads up to eight bytes as a number and longer integers as a `BigInt`, which its arithmetic rejects.
//! Python's own pickler, which PyTorch uses, writes the shortest form. [`shortened`] converts to this form.

/// Opcodes with an integer argument.
const BININT: u8 = b'J';
const BININT1: u8 = b'K';
const BININT2: u8 = b'M';
const LONG1: u8 = 0x8a;

/// Re-encodes each integer as Python's pickler does in protocol 2. Returns a pickle with an opcode that serde-pickle
/// never writes unchanged, which is also valid.
pub(super) fn shortened(pickle: Vec<u8>) -> Vec<u8> {
    rewritten(&pickle).unwrap_or(pickle)
}

fn rewritten(pickle: &[u8]) -> Option<Vec<u8>> {
    let mut short = Vec::with_capacity(pickle.len());
    let mut rest = pickle;
    while let Some((&opcode, after)) = rest.split_first() {
        let length = 1 + argument_bytes(opcode, after)?;
        let (instruction, next) = rest.split_at_checked(length)?;
        rest = next;
        let integer = match opcode {
            BININT | BININT1 | BININT2 | LONG1 => integer(opcode, &instruction[1..]),
            _ => None,
        };
        match integer {
            Some(integer) => push_integer(&mut short, integer),
            None => short.extend_from_slice(instruction),
        }
    }
    Some(short)
}

/// Returns the length of an opcode's argument in bytes, or `None` for opcodes that serde-pickle does not write for
/// numbers, strings, lists and maps.
fn argument_bytes(opcode: u8, argument: &[u8]) -> Option<usize> {
    match opcode {
        // Mark, stop, none, true, false, empty list and dict, append, appends, setitem, setitems, tuples.
        b'(' | b'.' | b'N' | 0x88 | 0x89 | b']' | b'}' | b'a' | b'e' | b's' | b'u' | b')' | b't' | 0x85..=0x87 => {
            Some(0)
        }
        // The protocol, and a one-byte integer.
        0x80 | BININT1 => Some(1),
        BININT2 => Some(2),
        BININT => Some(4),
        // A floating-point number.
        b'G' => Some(8),
        LONG1 => Some(1 + usize::from(*argument.first()?)),
        // A string, preceded by its length.
        b'X' => usize::try_from(u32::from_le_bytes(*argument.first_chunk()?)).ok()?.checked_add(4),
        _ => None,
    }
}

/// Returns the value of an integer argument, or `None` if it has more than 128 bits.
fn integer(opcode: u8, argument: &[u8]) -> Option<i128> {
    let (bytes, is_signed) = match opcode {
        LONG1 => (&argument[1..], true),
        BININT => (argument, true),
        _ => (argument, false),
    };
    let negative = is_signed && bytes.last().is_some_and(|&last| last & 0x80 != 0);
    let mut value = [if negative { 0xff } else { 0 }; size_of::<i128>()];
    value.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i128::from_le_bytes(value))
}

/// Writes an integer as `save_long` of Python's pickle.py does.
fn push_integer(short: &mut Vec<u8>, value: i128) {
    if let Ok(value) = u8::try_from(value) {
        short.extend([BININT1, value]);
    } else if let Ok(value) = u16::try_from(value) {
        short.push(BININT2);
        short.extend(value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        short.push(BININT);
        short.extend(value.to_le_bytes());
    } else {
        // Two's complement, in the fewest bytes that include a sign bit.
        let sign_bits = if value < 0 { value.leading_ones() } else { value.leading_zeros() };
        let bytes = (i128::BITS - sign_bits) as usize / 8 + 1;
        short.push(LONG1);
        short.push(u8::try_from(bytes).expect("at most 16"));
        short.extend(&value.to_le_bytes()[..bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pickled(value: impl serde::Serialize) -> Vec<u8> {
        let options = serde_pickle::SerOptions::new().proto_v2();
        shortened(serde_pickle::to_vec(&value, options).expect("a number or a text"))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The output of `pickle.dumps(n, protocol=2).hex()` in Python 3.
    const SIGNED: [(i64, &str); 29] = [
        (0, "80024b002e"),
        (1, "80024b012e"),
        (127, "80024b7f2e"),
        (128, "80024b802e"),
        (255, "80024bff2e"),
        (256, "80024d00012e"),
        (65_535, "80024dffff2e"),
        (65_536, "80024a000001002e"),
        (2_147_483_647, "80024affffff7f2e"),
        (2_147_483_648, "80028a0500000080002e"),
        (4_294_967_295, "80028a05ffffffff002e"),
        (4_294_967_296, "80028a0500000000012e"),
        (549_755_813_887, "80028a05ffffffff7f2e"),
        (549_755_813_888, "80028a060000000080002e"),
        (1_099_511_627_776, "80028a060000000000012e"),
        (140_737_488_355_327, "80028a06ffffffffff7f2e"),
        (140_737_488_355_328, "80028a07000000000080002e"),
        (9_007_199_254_740_991, "80028a07ffffffffffff1f2e"),
        (9_007_199_254_740_992, "80028a07000000000000202e"),
        (36_028_797_018_963_967, "80028a07ffffffffffff7f2e"),
        (36_028_797_018_963_968, "80028a0800000000000080002e"),
        (i64::MAX, "80028a08ffffffffffffff7f2e"),
        (-1, "80024affffffff2e"),
        (-128, "80024a80ffffff2e"),
        (-2_147_483_648, "80024a000000802e"),
        (-2_147_483_649, "80028a05ffffff7fff2e"),
        (-549_755_813_888, "80028a0500000000802e"),
        (-9_007_199_254_740_992, "80028a07000000000000e02e"),
        (i64::MIN, "80028a0800000000000000802e"),
    ];

    const UNSIGNED: [(u64, &str); 3] = [
        (9_223_372_036_854_775_808, "80028a090000000000000080002e"),
        (9_223_372_036_854_775_809, "80028a090100000000000080002e"),
        (u64::MAX, "80028a09ffffffffffffffff002e"),
    ];

    #[test]
    fn every_integer_is_encoded_as_pythons_pickler_does_and_decodes_to_itself() {
        for (value, expected) in SIGNED {
            let pickle = pickled(value);
            assert_eq!(hex(&pickle), expected, "{value}");
            assert_eq!(serde_pickle::from_slice::<i64>(&pickle, serde_pickle::DeOptions::new()).ok(), Some(value));
            if let Ok(value) = u64::try_from(value) {
                assert_eq!(hex(&pickled(value)), expected, "{value}");
            }
            if let Ok(value) = u32::try_from(value) {
                assert_eq!(hex(&pickled(value)), expected, "{value}");
            }
        }
        for (value, expected) in UNSIGNED {
            let pickle = pickled(value);
            assert_eq!(hex(&pickle), expected, "{value}");
            let read = serde_pickle::value_from_slice(&pickle, serde_pickle::DeOptions::new());
            assert!(
                matches!(read, Ok(serde_pickle::Value::Int(read)) if read.to_string() == value.to_string()),
                "{value}"
            );
        }
    }

    #[test]
    fn integers_near_every_power_of_two_use_the_fewest_bytes_and_decode_to_themselves() {
        for bits in 0..63 {
            for value in [(1_i64 << bits) - 1, 1 << bits, (1 << bits) + 1].into_iter().flat_map(|value| [value, -value])
            {
                let pickle = pickled(value);
                assert_eq!(serde_pickle::from_slice::<i64>(&pickle, serde_pickle::DeOptions::new()).ok(), Some(value));
                let fewest = (1..=8).find(|bytes| {
                    let (most, sign) = (i128::from(value), 8 * bytes - 1);
                    (-(1_i128 << sign)..1 << sign).contains(&most)
                });
                let expected = match value {
                    0..=0xff => 2,
                    0x100..=0xffff => 3,
                    -0x8000_0000..=-1 | 0x1_0000..=0x7fff_ffff => 5,
                    _ => 2 + fewest.expect("it has 64 bits"),
                };
                // Plus two bytes of protocol and one stop byte.
                assert_eq!(pickle.len(), 3 + expected, "{value}");
            }
        }
    }

    #[test]
    fn values_other_than_integers_are_unchanged_even_if_their_bytes_resemble_opcodes() {
        let texts = ["J\u{1}\u{0}\u{0}\u{0}", "\u{8a}\u{9}", "K", ""];
        let value =
            serde_json::json!({"J": texts, "x": [true, false, null, 1.5, [], {}], "deep": [[[4_294_967_296_u64]]]});
        let pickle = pickled(&value);
        let read: serde_json::Value =
            serde_pickle::from_slice(&pickle, serde_pickle::DeOptions::new()).expect("it is valid");
        assert_eq!(read, value);
        let many: Vec<u64> = (0..5000).map(|number| number << 20).collect();
        let read: Vec<u64> =
            serde_pickle::from_slice(&pickled(&many), serde_pickle::DeOptions::new()).expect("it is valid");
        assert_eq!(read, many);
    }

    #[test]
    fn a_pickle_with_unknown_opcodes_is_returned_unchanged() {
        for pickle in
            [&b"\x80\x02\x95\x01."[..], b"\x80\x02\x8a\x09\x01", b"\x80\x02X\xff\xff\xff\xff.", b"\x80\x02J\x01"]
        {
            assert_eq!(shortened(pickle.to_vec()), pickle);
        }
    }
}
