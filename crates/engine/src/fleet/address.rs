//! Where machines of a fleet may listen: Ballista's services know no tokens.

use std::net::IpAddr;

use lakewright_error::{Error, ErrorKind, Result};

/// Refuses an address that others than the fleet's machines may reach. `who` begins the message: "an executor serves".
///
/// # Errors
/// - [`ErrorKind::Invalid`]: it is neither of loopback nor of a private network.
pub fn check_private(ip: IpAddr, who: &str) -> Result<()> {
    let is_private = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared(ip.octets()),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if is_private {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("{who} at loopback or at one private address only"))
        .with("location", ip)
        .with_hint("name the address of a private interface, such as 10.0.0.5; whoever reaches it needs no token"))
}

/// The addresses between a provider and its customers.
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && (octets[1] & 0xc0) == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_strangers_reach_are_refused() {
        for address in
            ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.2", "169.254.1.1", "100.64.0.1", "::1", "fd00::1"]
        {
            check_private(address.parse().unwrap(), "executors join").unwrap();
        }
        for address in ["0.0.0.0", "8.8.8.8", "172.32.0.1", "100.128.0.1", "::", "2001:db8::1"] {
            let refused = check_private(address.parse().unwrap(), "executors join").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{address}");
        }
    }
}
