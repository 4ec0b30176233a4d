//! Which addresses may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Decides about addresses: public ones are allowed, all others only if the settings list them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    network: IpAddr,
    bits: u8,
}

impl Guard {
    /// A guard that also allows these ranges, such as `10.1.0.0/16` or `192.168.0.7`.
    ///
    /// # Errors
    /// Names the entry that is not an address or a range.
    pub fn new(allowed: &[String]) -> Result<Self, String> {
        let ranges = allowed.iter().map(|text| Range::read(text));
        Ok(Self { ranges: ranges.collect::<Result<_, _>>()? })
    }

    /// Whether this address may be connected to.
    #[must_use]
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.ranges.iter().any(|range| range.contains(address))
    }
}

impl Range {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not an address or a range such as 10.1.0.0/16");
        let (network, bits) = match text.trim().split_once('/') {
            Some((network, bits)) => (network, Some(bits)),
            None => (text.trim(), None),
        };
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { network, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (network, address, width) = match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let rest = width - u32::from(self.bits);
        rest == 128 || network >> rest == address >> rest
    }
}

/// Whether an address belongs to the public internet, by the special-purpose registries of IANA (RFC 6890 and its updates).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // This network, private, shared (carrier NAT), loopback, link-local with the clouds' metadata services.
        (0 | 10 | 127, ..) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113)
        // Multicast, reserved, broadcast.
        | (224..=255, ..)
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inner = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        // An IPv4 address in disguise is as public as that address: translated (NAT64), 6to4, compatible.
        (0x64, 0xff9b, 0, 0, 0, 0) | (0, 0, 0, 0, 0, 0) => is_public_v4(inner(g, h)),
        (0x2002, ..) => is_public_v4(inner(b, c)),
        // Local NAT64, Teredo and other protocol assignments, documentation.
        (0x64, 0xff9b, ..) | (0x2001, 0..=0x1ff, ..) | (0x2001, 0xdb8, ..) | (0x3fff, 0..=0xfff, ..) => false,
        // Everything that is not global unicast: loopback, unique local, link-local, multicast, discard-only.
        _ => (0x2000..=0x3fff).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_may_be_called() {
        let guard = Guard::default();
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
        {
            assert!(guard.permits(public.parse().unwrap()), "{public}");
        }
        for internal in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!guard.permits(internal.parse().unwrap()), "{internal}");
        }
    }

    #[test]
    fn listed_ranges_are_allowed_and_nothing_beside_them() {
        let guard = Guard::new(&["10.1.0.0/16".into(), "127.0.0.1".into(), "fd00::/8".into()]).unwrap();
        for (address, allowed) in [
            ("10.1.9.9", true),
            ("10.2.0.1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("::ffff:10.1.0.1", true),
        ] {
            assert_eq!(guard.permits(address.parse().unwrap()), allowed, "{address}");
        }
        assert!(Guard::new(&["0.0.0.0/0".into()]).unwrap().permits("10.0.0.1".parse().unwrap()));
        assert!(Guard::new(&["::/0".into()]).unwrap().permits("::1".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "hooks.internal", "10.0.0/8", ""] {
            assert!(Guard::new(&[wrong.into()]).is_err(), "{wrong}");
        }
    }
}
