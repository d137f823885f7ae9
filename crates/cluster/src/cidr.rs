//! Networks that clients may come from.
//!
//! Invariant: a network that is as good as everybody is refused here, before AWS is asked.

use std::net::IpAddr;

use lakewright_error::{Error, ErrorKind, Result};

/// The widest network that is one organisation's: IPv4.
const V4_PREFIX_MIN: u8 = 8;
/// The widest network that is one organisation's: IPv6.
const V6_PREFIX_MIN: u8 = 32;

/// Checks a network in CIDR notation, and gives it as AWS writes it.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: it is no network, has bits set behind its prefix, or is open to everybody.
pub(crate) fn check_cidr(text: &str) -> Result<String> {
    let invalid = |why: &str, hint: &str| {
        Error::new(ErrorKind::Invalid, format!("{text} {why}")).with("key", "allowed_cidrs").with_hint(hint)
    };
    let shape = "write a network such as 10.20.0.0/16, or one address such as 203.0.113.7/32";
    let no_network = || invalid("is no network", shape);
    let (address, prefix) = text.trim().split_once('/').ok_or_else(no_network)?;
    let address: IpAddr = address.parse().map_err(|_| no_network())?;
    let prefix: u8 = prefix.parse().map_err(|_| no_network())?;
    let (bits, width, prefix_min) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32, V4_PREFIX_MIN),
        IpAddr::V6(address) => (u128::from(address), 128, V6_PREFIX_MIN),
    };
    if prefix > width {
        return Err(no_network());
    }
    if prefix < prefix_min {
        return Err(invalid(
            "is open to everybody, or nearly so",
            "name the network that your clients are in; EMR's Block Public Access would refuse the cluster too. Without a \
             network of your own leave the list empty and go through an SSH or Session Manager tunnel",
        ));
    }
    let behind = if prefix == width { 0 } else { bits & ((1_u128 << (width - prefix)) - 1) };
    if behind != 0 {
        return Err(invalid("has bits set behind its prefix", shape));
    }
    Ok(format!("{address}/{prefix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_single_addresses_are_taken_as_aws_writes_them() {
        for (given, taken) in [
            ("10.20.0.0/16", "10.20.0.0/16"),
            (" 203.0.113.7/32", "203.0.113.7/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(check_cidr(given).unwrap(), taken);
        }
    }

    #[test]
    fn networks_of_everybody_are_refused_and_the_hint_says_what_to_do() {
        for open in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "8.0.0.0/7"] {
            let error = check_cidr(open).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("open to everybody"), "{error}");
            assert!(error.hint().unwrap().contains("Block Public Access"));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in
            ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.1/16", "ten/8", "10.0.0.0/-1", "2001:db8::1/64", "1.2.3/24"]
        {
            assert!(check_cidr(wrong).is_err(), "{wrong}");
        }
    }
}
