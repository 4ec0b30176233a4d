//! FP8 numbers as bf16.
//!
//! Both formats are subsets of bf16, so every value but a product with a scale is exact. e4m3fn has 4 bits of exponent (bias 7), 3
//! of mantissa, no infinity, and NaN at 0x7F and 0xFF; e5m2 has 5 (bias 15) and 2, with infinity at 0x7C and 0xFC.

/// The value of one byte.
fn value(byte: u8, format: &str) -> f32 {
    let (mantissa_bits, bias, has_infinity) = if format == "F8_E5M2" { (2, 15, true) } else { (3, 7, false) };
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((byte & 0x7F) >> mantissa_bits);
    let mantissa = f32::from(byte & ((1 << mantissa_bits) - 1)) / f32::from(1_u8 << mantissa_bits);
    if has_infinity && exponent == 0x1F {
        return if mantissa == 0.0 { sign * f32::INFINITY } else { f32::NAN };
    }
    if !has_infinity && byte & 0x7F == 0x7F {
        return f32::NAN;
    }
    let (whole, exponent) = if exponent == 0 { (0.0, 1) } else { (1.0, exponent) };
    sign * (whole + mantissa) * 2.0_f32.powi(exponent - bias)
}

/// A number as bf16, rounded to even.
fn to_bf16(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    if value.is_nan() {
        return [0xC0, 0x7F];
    }
    let rounded = bits + 0x7FFF + ((bits >> 16) & 1);
    [(rounded >> 16) as u8, (rounded >> 24) as u8]
}

/// A number rounded to bf16, to even.
#[must_use]
pub fn rounded(value: f32) -> f32 {
    let [low, high] = to_bf16(value);
    f32::from_le_bytes([0, 0, low, high])
}

/// The bf16 of each byte, times a scale: the product in fp32, rounded once.
#[must_use]
pub fn table(format: &str, scale: f32) -> [[u8; 2]; 256] {
    let mut table = [[0; 2]; 256];
    for (byte, entry) in (0..=u8::MAX).zip(&mut table) {
        *entry = to_bf16(value(byte, format) * scale);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_both_formats_are_as_published() {
        for (byte, format, wanted) in [
            (0x7E, "F8_E4M3", 448.0),
            (0xFE, "F8_E4M3", -448.0),
            (0x01, "F8_E4M3", 2.0_f32.powi(-9)),
            (0x38, "F8_E4M3", 1.0),
            (0x7B, "F8_E5M2", 57344.0),
            (0x01, "F8_E5M2", 2.0_f32.powi(-16)),
            (0x7C, "F8_E5M2", f32::INFINITY),
        ] {
            assert_eq!(value(byte, format).to_bits(), wanted.to_bits(), "{byte:02x} of {format}");
        }
        assert!(value(0x7F, "F8_E4M3").is_nan() && value(0x7F, "F8_E5M2").is_nan());
    }

    #[test]
    fn every_value_is_exact_in_bf16_and_products_are_rounded_to_even() {
        for format in ["F8_E4M3", "F8_E5M2"] {
            for (byte, bits) in (0..=u8::MAX).zip(table(format, 1.0)) {
                let back = f32::from_bits(u32::from(u16::from_le_bytes(bits)) << 16);
                let exact = value(byte, format);
                assert!(back.to_bits() == exact.to_bits() || back.is_nan() && exact.is_nan(), "{byte:02x} of {format}");
            }
        }
        assert_eq!(to_bf16(f32::from_bits(0x3F80_8000)), [0x80, 0x3F]);
        assert_eq!(to_bf16(f32::from_bits(0x3F81_8000)), [0x82, 0x3F]);
    }
}
