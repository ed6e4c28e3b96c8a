//! The form in which equal numbers are equal bytes, however many digits they have.
//!
//! No number is converted: `1e400` fits into no type that a machine has, and 2^53 + 1 not into the one of most parsers.

/// Appends the form of a JSON number: its digits without the zeros around them, its sign, and the power of ten that
/// they are multiplied with, unless that is the zeroth. Zero is nothing at all. `None`, if it is no number or the power
/// is beyond all reason.
pub(super) fn append(number: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (sign, number) = number.strip_prefix(b"-").map_or((b'+', number), |rest| (b'-', rest));
    let (mantissa, power) = split(number, |byte| matches!(byte, b'e' | b'E'));
    let (whole, fraction) = split(mantissa, |byte| *byte == b'.');
    let is_padded = whole.len() > 1 && whole[0] == b'0';
    if is_padded || !is_digits(whole) || !fraction.is_none_or(is_digits) {
        return None;
    }
    let power: i64 = power.map_or(Some(0), |power| std::str::from_utf8(power).ok()?.parse().ok())?;
    let (start, fraction) = (out.len(), fraction.unwrap_or_default());
    let zeros = append_digits(whole, fraction, out);
    if out.len() > start {
        out.push(sign);
        let power = power.checked_sub_unsigned(fraction.len() as u64)?.checked_add_unsigned(zeros as u64)?;
        out.extend((power != 0).then_some(power.to_le_bytes()).into_iter().flatten());
    }
    Some(())
}

/// Gives what stands before a byte, and what stands after it if it is there.
fn split(text: &[u8], at: impl Fn(&u8) -> bool) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(at) {
        Some(i) => (&text[..i], Some(&text[i + 1..])),
        None => (text, None),
    }
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Appends the digits from the first to the last that is not 0; tells how many zeros stood after that.
fn append_digits(whole: &[u8], fraction: &[u8], out: &mut Vec<u8>) -> usize {
    let is_zero = |digit: &&u8| **digit == b'0';
    let start = out.len();
    if whole == b"0" {
        out.extend_from_slice(&fraction[fraction.iter().take_while(is_zero).count()..]);
    } else {
        out.extend_from_slice(whole);
        out.extend_from_slice(fraction);
    }
    let zeros = out[start..].iter().rev().take_while(is_zero).count();
    out.truncate(out.len() - zeros);
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(number: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        append(number.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn equal_numbers_have_one_form_and_others_another() {
        let equal: &[&[&str]] = &[
            &["0", "-0", "0.0", "-0.000", "0e7", "0E-7"],
            &["1", "1.0", "1e0", "1E+0", "10e-1", "0.1e1", "0.001e+3", "1e-0", "1.000"],
            &["-1", "-1.0", "-10e-1"],
            &["10", "1e1", "1.0e1", "1e001"],
            &["0.1", "1e-1", "0.10"],
            &["0.10000000000000001"],
            &["9007199254740992"],
            &["9007199254740993", "9007199254740993.0"],
            &["18446744073709551616", "1.8446744073709551616e19"],
            &["18446744073709551617"],
            &["1e400", "10e399", "0.1e401"],
            &["1e401"],
            &["1e-400"],
        ];
        for (i, row) in equal.iter().enumerate() {
            for number in *row {
                let first = form(row[0]).unwrap();
                assert_eq!(form(number).unwrap(), first, "{number} is {}", row[0]); // CA4
                let same = equal.iter().skip(i + 1).find(|other| form(other[0]).unwrap() == first);
                assert_eq!(same, None, "{number} is something else"); // CA4
            }
        }
    }

    #[test]
    fn what_is_no_number_has_no_form() {
        let beyond = ["1e9223372036854775808", "1e-9223372036854775809", "0e99999999999999999999"];
        let wrong =
            ["", "-", "+1", "01", "-01", "00", ".5", "1.", "1.e1", "1e", "1e+", "1e1.5", "1e1e1", "1.1.1"];
        for number in wrong.iter().chain(&beyond).chain(&["--1", "1-1", "1e+-1", "0x1", "1_0", "١"]) {
            assert_eq!(form(number), None, "{number}");
        }
    }
}
